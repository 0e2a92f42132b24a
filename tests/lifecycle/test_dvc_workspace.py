"""What is passed on of what DVC says."""

import subprocess

import pytest

from pipeline.errors import UserError
from pipeline.lifecycle import dvc, dvc_workspace


def test_a_complaint_of_dvc_tells_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key-of-the-bucket")
    said = "WARNING: slow\nERROR: https://ci:hunter22@store.example.com/dvc refuses key-of-the-bucket\nmore\n"
    monkeypatch.setattr(dvc, "run", lambda *_: subprocess.CompletedProcess((), 1, stdout="", stderr=said))
    with pytest.raises(UserError, match=r"ERROR: https://store.example.com/dvc refuses \(secret\)$") as refused:
        dvc_workspace.push()
    assert "WARNING" not in str(refused.value)
