"""A run is trained again from nothing but what was recorded, and any difference is named."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline import digest, params_file
from pipeline.cli.verify import command
from pipeline.errors import UserError
from pipeline.params import Params, Train
from pipeline.tracking import lineage, records
from tests import warm
from tests.lifecycle.traced import Traced
from tests.stages import test_pipeline
from tests.tracking.repositories import git, write

trained, copy = test_pipeline.trained, test_pipeline.copy  # fixtures


@pytest.fixture
def made(project_of_runs: Traced) -> Traced:
    return project_of_runs


def verified(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


def files(folder: Path) -> dict[str, str]:
    return {str(path): digest.of_file(path) for path in folder.rglob("*") if path.is_file()}


def test_the_same_bytes_and_no_trace_of_the_second_training(made: Traced):
    params = Params(train=Train(learning_rate=0.25))
    record = made.run("first", params=params)
    write({"train.py": "raise SystemExit('the code has gone on')\n", "params.yaml": params_file.render(Params())})
    before = files(made.home / ".dvc/cache"), files(made.home / "mlartifacts"), digest.of_file(made.home / "mlflow.db")
    done = verified("first")
    assert done.return_value == 0
    assert "This environment has the recorded versions, all of them." in done.output
    assert (
        f"The same model, byte for byte: first ({record.id}), SHA-256 {record.tags[records.MODEL_DIGEST]}"
        in done.output
    )
    after = files(made.home / ".dvc/cache"), files(made.home / "mlartifacts"), digest.of_file(made.home / "mlflow.db")
    assert after == before
    assert len(git("worktree", "list").splitlines()) == 1


def test_what_differs_is_named_with_the_distance_of_the_scores(made: Traced):
    record = made.run("first")
    sha256 = digest.of_file(Path("data/raw/mine.csv"))
    write({"data/raw/mine.csv": "mine and more\n"})
    facts = (record.read(lineage.LINEAGE) or b"").decode()
    # As if this row had been there, on another processor.
    forged = facts.replace(sha256, digest.of_file(Path("data/raw/mine.csv"))).replace('"bytes": 5', '"bytes": 14')
    forged = re.sub(r'"cpu": "[^"]*"', '"cpu": "Zilog Z80"', forged)
    made.client.log_text(record.id, forged, lineage.LINEAGE)
    done = verified("first", "--keep")
    assert done.return_value == 3
    assert "Not the same bytes" in done.output
    assert "processor: Zilog Z80 then, " in done.output
    assert re.search(r"test/accuracy +0\.1700 +0\.1000 to 0\.4000 +0\.2600 +\+0\.0900", done.output)
    kept = Path(re.findall(r"It stays in (.+)", done.output)[0])
    assert digest.of_folder(kept / "models/best") != record.tags[records.MODEL_DIGEST]
    shutil.rmtree(kept.parent)


def test_a_training_that_fails_is_an_error_and_leaves_nothing(made: Traced):
    record = made.run("first")
    change = "@@ -1,3 +1,3 @@\n-import json\n+import jsno\n from pathlib import Path\n import yaml\n"
    failing = f"diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n{change}"
    made.client.log_text(record.id, failing, lineage.PATCH)
    with pytest.raises(UserError, match="does not train again: dvc repro ended with 255"):
        verified(record.id)
    assert len(git("worktree", "list").splitlines()) == 1


def test_a_run_without_a_model_has_nothing_to_verify(made: Traced):
    made.client.create_run(made.experiment, run_name="young")
    with pytest.raises(UserError, match=r"made no model \(it is RUNNING\)"):
        verified("young")


def test_a_whole_pipeline_trains_again_to_the_same_bytes(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model = digest.of_folder(copy / "models/best")
    (copy / "params.yaml").write_text(params_file.render(Params()))
    (copy / "stages/train.py").write_text("raise SystemExit('the code has gone on')\n")
    monkeypatch.chdir(copy)
    for name in ("DVC_EXP_NAME", "DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "executable", str(warm.python(*warm.STAGES)))
    assert command.main(["workspace"], standalone_mode=False) == 0
    said = capfd.readouterr()
    assert "The same model, byte for byte" in said.out
    assert model in said.out
    assert "> python -m stages.train" in said.err
