from pathlib import Path

import pytest

from pipeline import project
from pipeline.errors import UserError
from pipeline.params import Params
from stages.check import check


def test_a_tracking_uri_that_is_none_is_told_before_anything_is_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:5000")
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI is 'localhost:5000'.* Did you mean 'http://localhost"):
        check(Params())
    assert not project.CHECKED.exists()
