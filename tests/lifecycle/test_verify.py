"""A whole pipeline, recorded, and trained again from nothing but what was recorded."""

import re
import shutil
import sys
from pathlib import Path

from pipeline import digest, params_file
from pipeline.params import Data, Params
from tests.stages.test_pipeline import clone, run, small
from tests.tracking.repositories import git


def reprise(folder: Path, *command: str, code: int) -> str:
    done = run(folder, sys.executable, "-m", "pipeline.cli", *command, ok=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_run_that_has_been_changed_since_is_trained_again_to_the_same_bytes(tmp_path: Path, tiny: Params) -> None:
    brief = small(tiny).model_copy(update={"train": small(tiny).train.model_copy(update={"num_train_epochs": 2})})
    folder = clone(tmp_path / "project", brief)
    (folder / "data/raw/reviews.csv").rename(folder / "data/raw/mine.csv")  # which neither git nor DVC keeps
    ours = brief.model_copy(update={"data": Data(dataset_name=None, train_file="data/raw/mine.csv")})
    (folder / "params.yaml").write_text(params_file.render(ours))
    run(folder, "dvc", "repro")
    made = digest.of_folder(folder / "models/best")
    lock, database = (folder / "dvc.lock").read_bytes(), (folder / "mlflow.db").read_bytes()
    cached = sorted(path for path in (folder / ".dvc/cache").rglob("*") if path.is_file())
    (folder / "params.yaml").write_text(params_file.render(Params()))
    (folder / "stages/train.py").write_text("raise SystemExit('the code has gone on')\n")

    said = reprise(folder, "verify", "workspace", code=0)
    assert "This environment has the recorded versions, all of them." in said
    assert "The same model, byte for byte" in said
    assert made in said
    assert (folder / "dvc.lock").read_bytes() == lock
    assert (folder / "mlflow.db").read_bytes() == database, "the second training is in no database"
    assert sorted(path for path in (folder / ".dvc/cache").rglob("*") if path.is_file()) == cached
    assert len(git("worktree", "list", folder=folder).splitlines()) == 1

    # Another row, since git and DVC do not keep this file: another model, and it is said where it starts.
    with (folder / "data/raw/mine.csv").open("a") as file:
        file.write("good bad sad,good\n")
    (document,) = folder.glob("mlartifacts/*/artifacts/lineage/lineage.json")
    was, now = digest.of_file(folder / "data/raw/mine.csv"), (folder / "data/raw/mine.csv").stat().st_size
    text = re.sub(r'("bytes": )\d+(,\s*"sha256": ")[0-9a-f]+', rf"\g<1>{now}\g<2>{was}", document.read_text())
    document.write_text(text)
    said = reprise(folder, "verify", "workspace", "--keep", code=3)
    assert "Not the same bytes" in said
    assert "data/prepared, which it was trained from, is another" in said
    assert re.search(r"test/accuracy +[01]\.\d{4} +[01]\.\d{4} to [01]\.\d{4} +[01]\.\d{4} +[+-]\d", said)
    kept = Path(re.findall(r"It stays in (.+)", said)[0])
    assert digest.of_folder(kept / "models/best") != made
    shutil.rmtree(kept.parent)
