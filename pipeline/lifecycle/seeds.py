"""The same training with several seeds, as DVC experiments: how much of a score is luck."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline import digest, project
from pipeline.errors import UserError
from pipeline.lifecycle import dvc
from pipeline.params import Params
from pipeline.tracking import git, groups, records
from pipeline.tracking.records import Record

_NAME_DIGITS = 8


@dataclass(frozen=True)
class Seeds:
    """Runs that differ in their seed alone.

    Attributes:
        name: of their parent run.
        id: likewise.
        runs: in the order of their seeds.
        scores: mean and standard deviation (`_std`) of every score.
    """

    name: str
    id: str
    runs: Sequence[Record]
    scores: Mapping[str, float]


def run(params: Params, count: int, first: int) -> Seeds:
    """Run `count` experiments whose train.seed is `first`, `first` + 1, ..., and group their MLflow runs.

    Each runs in a temporary copy of the project, so that what lies in the workspace stays. One that was run before,
    with this code and these params, is restored from DVC's run cache.

    Raises:
        UserError: an experiment fails, or MLflow does not answer.
    """
    group = f"seeds-{_digest(params)}"
    found = []
    for place, seed in enumerate(range(first, first + count), 1):
        print(f"seeds: train.seed {seed}, {place} of {count}", flush=True)
        name = f"{group}-{seed}"
        _experiment(name, seed)
        # By its commit: of an experiment that was made before with other code, MLflow has a run of this name, too.
        found.append(records.find(git.experiment(name) or name, params.tracking.experiment_name))
    title = f"{group}-{first}-{first + count - 1}"
    parent = groups.group(found, title)
    return Seeds(title, parent, found, groups.summary(found))


def _experiment(name: str, seed: int) -> None:
    # An experiment of that name may have been made with other code. There may be none, which is no failure.
    _dvc("exp", "remove", name, quiet=True)
    if _dvc("exp", "run", "--quiet", "--temp", "--name", name, "--set-param", f"train.seed={seed}"):
        raise UserError(f"The experiment with train.seed {seed} failed; what it said stands above.")


def _dvc(*command: str, quiet: bool = False) -> int:
    """Run DVC as the user would, and return its exit code."""
    whole = (*dvc.PROGRAM, *command)
    return subprocess.run(whole, env=dvc.variables(), cwd=project.home(), capture_output=quiet).returncode


def _digest(params: Params) -> str:
    """The same for params that differ in their seed alone."""
    experiment = params.experiment()
    del experiment["train"]["seed"]
    return digest.of_value(experiment)[:_NAME_DIGITS]
