"""A run trained again from its own commit, changes, data and versions: are the model's bytes the same?"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline import digest, project
from pipeline.errors import UserError
from pipeline.lifecycle import checkout, dvc_checkout, versions
from pipeline.lifecycle.checkout import Tree
from pipeline.tracking import machine, records
from pipeline.tracking.records import Record

_RESULTS = "report/evaluation.json"
_PARENT = "mlflow.parentRunId"
_STDERR = 2  # what is asked for goes to the other one
# What of the machine changes the last bits of a sum.
_OF_MACHINE = {"cpu": "processor", "cores": "cores", "gpus": "GPUs"}


@dataclass(frozen=True)
class Score:
    """A score as recorded, with its interval, and as it came out again; on rows of ``test`` or ``validation``."""

    split: str
    name: str
    recorded: float | None
    low: float | None
    high: float | None
    again: float | None


@dataclass(frozen=True)
class Verdict:
    """What came out.

    Attributes:
        same: whether the model is the same, byte for byte.
        digests: SHA-256 of the model, as recorded and as it came out again.
        reasons: what was another this time, a line each.
        folder: where it was trained again, if that is kept.
    """

    record: Record
    same: bool
    digests: tuple[str, str]
    reasons: tuple[str, ...]
    scores: tuple[Score, ...]
    folder: Path | None


def verify(record: Record, *, here: bool, keep: bool, say: Callable[[str], None]) -> Verdict:
    """Train a run again, in a temporary folder with a DVC cache and an MLflow database of its own.

    Args:
        here: use the present environment, whatever its versions.
        keep: leave the folder where it is.
        say: is told each step.

    Raises:
        UserError: the run cannot be checked out, its versions cannot be installed, or it does not train again.
    """
    record = _trained(record, say)
    recorded = record.tags.get(records.MODEL_DIGEST)
    if recorded is None:
        raise UserError(
            f"The run {record.name} ({record.id}) made no model (it is {record.status}): nothing to verify."
        )
    place = Path(tempfile.mkdtemp(prefix="reprise-verify-"))
    say(f"The run {record.name} ({record.id}) is checked out to {place}")
    tree = None
    try:
        tree = checkout.check_out(record, place / project.home().name)
        for line in tree.missing:
            say(f"missing: {line}")
        python = versions.python_of(record, place / "venv", here, say)
        _isolate(tree)
        say("It trains again; what is in DVC's run cache does not count.")
        _reproduce(tree, python)
        again = digest.of_folder(tree.folder / project.BEST_MODEL)
        scores = tuple(_scores(record, tree))
        reasons = () if again == recorded else tuple(_reasons(record, tree, python))
        return Verdict(record, again == recorded, (recorded, again), reasons, scores, tree.folder if keep else None)
    finally:
        if not keep:
            if tree is not None:
                checkout.remove(tree.root)
            shutil.rmtree(place, ignore_errors=True)


def _trained(record: Record, say: Callable[[str], None]) -> Record:
    """The run that trained: of a later evaluation, which is a run below it, that is its parent."""
    parent = record.tags.get(_PARENT)
    if parent and record.tags.get("mlflow.source.name") == "dvc.yaml:evaluate":
        say(f"The run {record.id} is an evaluation of the run {parent}, which is trained again.")
        return records.find(parent, record.name)
    return record


def _isolate(tree: Tree) -> None:
    """Have nothing that is made in the folder land elsewhere, and nothing that lies elsewhere be taken up."""
    dvc_checkout.keep_to_itself(tree.folder)
    params = tree.folder / project.PARAMS
    values = yaml.safe_load(params.read_text(encoding="utf-8"))
    if (values.get("hardware") or {}).get("checkpoint_dir") is not None:
        values["hardware"]["checkpoint_dir"] = None
        params.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _reproduce(tree: Tree, python: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_TRACKING"))}
    # Each stage is started as `python`, which has to be this one.
    variables = kept | {"PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}", "DVC_NO_ANALYTICS": "1"}
    command = (str(python), "-m", "dvc", "repro", "--force", "--no-run-cache")
    done = subprocess.run(command, cwd=tree.folder, env=variables, stdout=_STDERR)
    if done.returncode:
        raise UserError(
            f"The run does not train again: dvc repro ended with {done.returncode}; what it said stands above.\n"
            "With --keep its folder stays, to look at."
        )


def _scores(record: Record, tree: Tree) -> Iterator[Score]:
    content, file = record.read(_RESULTS), tree.folder / project.RESULTS
    if content is None or not file.is_file():
        return
    before, again = json.loads(content), json.loads(file.read_text(encoding="utf-8"))
    for split in ("test", "validation"):
        for name, found in before.get(split, {}).items():
            new = again.get(split, {}).get(name, {}).get("value")
            yield Score(split, name, found["value"], found["low"], found["high"], new)


def _reasons(record: Record, tree: Tree, python: Path) -> Iterator[str]:
    """What was another this time than when the run was made; where it starts to differ."""
    yield from (f"missing: {line}" for line in tree.missing)
    now: dict[str, Any] = machine.facts()
    then: Mapping[str, Any] = tree.origin["machine"]
    for name, word in _OF_MACHINE.items():
        if then.get(name) != now[name]:
            yield f"{word}: {_shown(then.get(name))} then, {_shown(now[name])} now"
    there = versions.installed_in(python)
    for name, version in versions.recorded(record).items():
        if there.get(name) != version:
            yield f"{name}: {version} then, {there.get(name, 'none')} now"
    for path, value in tree.origin["inputs"].items():
        file = tree.folder / path
        if not file.exists() or digest.of_path(file) != value:
            yield f"{path}, which it was trained from, is another"


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
