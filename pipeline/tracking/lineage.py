"""Where a run comes from: the commit, the machine, the versions. No MLflow and no torch is imported here."""

import getpass
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline import dag, digest
from pipeline.errors import counted
from pipeline.params import Params
from pipeline.tracking import changes, git, machine
from pipeline.tracking.values import without_secrets

LINEAGE = "lineage/lineage.json"
PATCH = "lineage/changes.patch"
ENVIRONMENT = "lineage/environment.txt"
LOCK = "lineage/dvc.lock"
"""Artifacts of every run: what it is made from, the change to its commit, all versions, dvc.lock as it was found."""


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
    found |= {f"reprise.version.{name}": version for name, version in machine.versions().items()}
    return {name: value for name, value in (found | git_tags()).items() if value}


def owner() -> str:
    """Who runs this: the login name, or the user's number where it has no name (containers)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def git_tags() -> dict[str, str]:
    """Tags for commit, branch, remote, and whether files differ from the commit; empty where git has no say."""
    found = repository()
    tags = {
        "mlflow.source.git.commit": found.get("commit"),
        "mlflow.source.git.branch": found.get("branch"),
        "mlflow.source.git.repoURL": found.get("remote"),
        "reprise.git.commit": found.get("commit"),
        "reprise.git.branch": found.get("branch"),
        "reprise.git.dirty": str(found["dirty"]).lower() if "dirty" in found else None,
    }
    return {name: value for name, value in tags.items() if value}


def repository() -> dict[str, Any]:
    """Commit, branch, remote, the project's folder in the repository, and whether files differ from the commit.

    Empty where git has no say. A run's own dvc.lock and metrics/ do not count as a difference.
    dvc.yaml must be tracked: a release unpacked inside some other repository has nothing to do with its commits.
    """
    if git.output("ls-files", "--error-unmatch", dag.FILE.as_posix()) is None or (commit := git.base()) is None:
        return {}
    others = [f":(exclude){path}" for path in changes.WRITTEN_BY_RUNS]
    differs = git.output("diff", "--quiet", "--ignore-submodules=dirty", commit, "--", ".", *others) is None
    new = git.output("ls-files", "--others", "--exclude-standard", "--", ".", *others)
    remote = git.text("remote", "get-url", "origin")
    return {
        "commit": commit,
        "branch": git.text("symbolic-ref", "--short", "HEAD"),
        "remote": remote and without_secrets(remote),
        "folder": git.text("rev-parse", "--show-prefix"),
        "dirty": differs or bool(new),
    }


def capture(params: Params, inputs: Mapping[str, str], device: str) -> dict[str, bytes]:
    """Artifacts that say what a run is made from, by path: enough to make it again, and no secret.

    Args:
        inputs: SHA-256 of every dependency of the stage, by path.
        device: what it is computed on, in words.
    """
    found = repository()
    rows = params.evaluate.publish_texts == "mlflow"
    changed = changes.since(found["commit"], rows=rows) if found else None
    facts = {
        "stage": os.environ.get("DVC_STAGE"),
        "git": found or None,
        "dvc": {"experiment": os.environ.get("DVC_EXP_NAME"), "baseline": os.environ.get("DVC_EXP_BASELINE_REV")},
        "changed": changed.paths if changed else (),
        "left_out": [vars(file) for file in changed.left_out] if changed else (),
        "kept_nowhere": changes.kept_nowhere(dag.sources(), changed.left_out) if changed else (),
        "inputs": dict(inputs),
        "params": params.model_dump(mode="json"),
        "device": device,
        "threads": params.hardware.num_threads,
        "machine": machine.facts(),
        "versions": machine.versions(),
    }
    kept = {LINEAGE: _json(facts), ENVIRONMENT: _pins(machine.installed())}
    if changed and changed.patch:
        kept[PATCH] = changed.patch
    if dag.LOCK.is_file():
        kept[LOCK] = without_secrets(dag.LOCK.read_text(encoding="utf-8")).encode()  # it repeats the params
    return kept


def outputs(hashes: Mapping[str, str]) -> dict[str, bytes]:
    """The artifact that says what a stage has made, by its path: for each output the hash as in dvc.lock, and SHA-256.

    Args:
        hashes: by path, as `dag.outputs` has them.
    """
    found = {path: {"dvc": value, "sha256": digest.of_path(Path(path))} for path, value in hashes.items()}
    return {f"lineage/outputs/{dag.maker(path)}.json": _json(found) for path in list(found)[:1]}


def _json(value: object) -> bytes:
    return (json.dumps(_clean(value), indent=1, ensure_ascii=False) + "\n").encode()


def _clean(value: object) -> object:
    """The value without secrets, text by text: taken out of the finished JSON, they could break it."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {str(name): _clean(inner) for name, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, list | tuple) else value


def _pins(installed: Mapping[str, str]) -> bytes:
    return "".join(f"{name}=={version}\n" for name, version in installed.items()).encode()


def file_at(revision: str, path: PurePosixPath | Path) -> str | None:
    """The text of a file in a git revision, or None."""
    return git.text("show", f"{revision}:{path.as_posix()}")


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
    path = PurePosixPath(params.data.files("train")[0])
    name = path.name.split(".")[0]
    return path.parent.name if name == "train" and path.parent.name not in ("", "raw") else name


def description(params: Params) -> str:
    """The run's description, in Markdown: what is learned, from what, with which model, how."""
    data, train = params.data, params.train
    model = params.model.model_name_or_path or f"{model_name(params)} from scratch"
    own = "as the task names it"
    length = (
        counted(train.max_steps, "step")
        if train.max_steps
        else f"{train.num_train_epochs:g} epoch{'' if train.num_train_epochs == 1 else 's'}"
    )
    lines = [
        f"**{params.task}** on `{data.source}`",
        "",
        "| | |",
        "|---|---|",
        f"| model | {model} |",
        f"| text | {', '.join(data.text_column_names or [own])} (up to {params.tokenizer.max_seq_length} tokens) |",
        f"| label | {data.label_column_name or own} |",
        f"| learning rate | {train.learning_rate:g}, {train.lr_scheduler_type} |",
        f"| global batch | {counted(train.global_batch_size, 'example')}, {length} |",
        f"| precision, seed | {train.precision}, {train.seed} |",
    ]
    return without_secrets("\n".join(lines))
