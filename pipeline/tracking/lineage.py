"""Where a run comes from: the commit, the machine, the versions. No MLflow and no torch is imported here."""

import getpass
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path, PurePosixPath

from pipeline import project
from pipeline.params import Params
from pipeline.tracking.values import without_secrets

PACKAGES = ("torch", "transformers", "datasets", "tokenizers", "mlflow", "dvc")
_GIT_SECONDS = 30
# DVC and the stages write these while a run goes on, so they say nothing about what the run was made from.
_WRITTEN_BY_RUNS = ("dvc.lock", project.TRAIN_METRICS.parent.as_posix())


def facts() -> dict[str, str]:
    """Tags that say what made a run: git, DVC's experiment, versions, owner, machine. What is unknown is left out."""
    stage = os.environ.get("DVC_STAGE")
    found = {
        "mlflow.source.type": "JOB" if os.environ.get("CI") else "LOCAL",
        "mlflow.source.name": f"dvc.yaml:{stage}" if stage else "reprise",
        "mlflow.user": owner(),
        "reprise.host": platform.node(),
        "reprise.system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "reprise.dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
        "reprise.dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV", ""),
    }
    found |= {f"reprise.version.{name}": version for name, version in versions().items()}
    return {name: value for name, value in (found | git()).items() if value}


def owner() -> str:
    """Who runs this: the login name, or the user's number where it has no name (containers)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def versions() -> dict[str, str]:
    """Python's version and those of the packages that shape a result, as installed; none of them is imported."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git() -> dict[str, str]:
    """Tags for commit, branch, remote, and whether files differ from the commit; empty where git has no say.

    A run's own dvc.lock and metrics/ do not count as a difference.
    dvc.yaml must be tracked: a release unpacked inside some other repository has nothing to do with its commits.
    """
    if _git("ls-files", "--error-unmatch", "dvc.yaml") is None:
        return {}
    commit, branch = _git("rev-parse", "--verify", "HEAD"), _git("symbolic-ref", "--short", "HEAD")
    others = (f":(exclude){path}" for path in _WRITTEN_BY_RUNS)
    changes, remote = _git("status", "--porcelain", "--", ".", *others), _git("remote", "get-url", "origin")
    found = {
        "mlflow.source.git.commit": commit,
        "mlflow.source.git.branch": branch,
        "mlflow.source.git.repoURL": remote and without_secrets(remote),
        "reprise.git.commit": commit,
        "reprise.git.branch": branch,
        "reprise.git.dirty": None if changes is None else str(bool(changes)).lower(),
    }
    return {name: value for name, value in found.items() if value}


def _git(*command: str) -> str | None:
    """What git answers, or None: there is no git, no repository, or no such thing in it."""
    # Without optional locks, `git status` does not get in the way of the git commands that DVC runs.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        answer = subprocess.run(
            ("git", *command),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_SECONDS,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def file_at(revision: str, path: PurePosixPath | Path) -> str | None:
    """The text of a file in a git revision, or None."""
    return _git("show", f"{revision}:{path.as_posix()}")


def run_name(params: Params) -> str:
    """The run's name: the one in params.yaml, else the DVC experiment's, else what tells it from its neighbours."""
    if params.tracking.run_name:
        return params.tracking.run_name
    if experiment := os.environ.get("DVC_EXP_NAME"):
        return experiment
    train = params.train
    # MLflow's lists show about twenty characters: what is tuned most comes first.
    return f"lr {train.learning_rate:g} bs {train.global_batch_size} {model_name(params)} {data_name(params)}"


def model_name(params: Params) -> str:
    """A short name of the model: its folder or hub name, or its type when it is trained from scratch."""
    if params.model.model_name_or_path is not None:
        return PurePosixPath(params.model.model_name_or_path).name
    assert params.model.config is not None
    return str(params.model.config["model_type"])


def data_name(params: Params) -> str:
    """A short name of the data: the dataset's, or that of the file, or of its folder if the file is just "train"."""
    if params.data.dataset_name is not None:
        return PurePosixPath(params.data.dataset_name).name
    assert params.data.train_file is not None
    path = PurePosixPath(params.data.train_file)
    name = path.name.split(".")[0]
    return path.parent.name if name == "train" and path.parent.name not in ("", "raw") else name


def description(params: Params) -> str:
    """The run's description, in Markdown: what is learned, from what, with which model, how."""
    data, train = params.data, params.train
    model = params.model.model_name_or_path or f"{model_name(params)} from scratch"
    source = data.train_file or data.dataset_name
    length = f"{train.max_steps:,} steps" if train.max_steps else f"{train.num_train_epochs:g} epochs"
    lines = [
        f"**{params.task}** on `{source}`",
        "",
        "| | |",
        "|---|---|",
        f"| model | {model} |",
        f"| text | {', '.join(data.text_column_names)} (up to {params.tokenizer.max_seq_length} tokens) |",
        f"| label | {data.label_column_name} |",
        f"| learning rate | {train.learning_rate:g}, {train.lr_scheduler_type} |",
        f"| global batch | {train.global_batch_size} examples, {length} |",
        f"| precision, seed | {train.precision}, {train.seed} |",
    ]
    return without_secrets("\n".join(lines))
