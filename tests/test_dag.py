"""dvc.yaml lists for each stage what the stage imports: what shapes an output re-runs it, and nothing else does."""

import ast
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline import dag
from pipeline.params import OUTSIDE_THE_EXPERIMENT, Params
from tests.conftest import REPOSITORY

STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
# Found by their name at run time.
TASKS = [f"pipeline/tasks/{path.name}" for path in (REPOSITORY / "pipeline/tasks").glob("*.py")]
FOUND_BY_NAME = {"pipeline/tasks/__init__.py": TASKS}
# Dependencies as a whole, so that one more task, metric or section is one more file and no line of dvc.yaml.
WHOLE = ("pipeline/metrics", "pipeline/params", "pipeline/tasks")
# What tells of a result, but never shapes one.
STARTS_PROCESSES = ("cluster", "devices", "launch", "lease", "signals", "worker")
SHAPES_NOTHING = (
    "pipeline/tracking/",
    "pipeline/progress.py",
    "pipeline/dag.py",
    *(f"pipeline/training/{name}.py" for name in STARTS_PROCESSES),
)
OTHER_FILES = {
    "pipeline/evaluation/page.py": ["pipeline/evaluation/page.css.j2"],
    "pipeline/evaluation/report.py": ["pipeline/evaluation/report.html.j2"],
}


def imported(file: str) -> set[str]:
    """The files of this repository that a file imports, packages included."""
    modules = set()
    for node in ast.walk(ast.parse((REPOSITORY / file).read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = set()
    for module in modules:
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            base = "/".join(parts[:depth])
            files |= {name for name in (f"{base}.py", f"{base}/__init__.py") if (REPOSITORY / name).is_file()}
    return files | set(FOUND_BY_NAME.get(file, ())) | set(OTHER_FILES.get(file, ()))


def listed_as(file: str) -> str:
    """What a stage lists for a file of code: itself, or the folder that it lies in."""
    return next((folder for folder in WHOLE if file.startswith(f"{folder}/")), file)


def reached(file: str) -> set[str]:
    """All files that a file needs, itself included."""
    found, open_ends = set(), {file}
    while open_ends:
        current = open_ends.pop()
        found.add(current)
        if current.endswith(".py"):
            open_ends |= imported(current) - found
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_code_that_it_imports(stage: str) -> None:
    # Check runs whenever another stage may: what is wrong then must show before DVC deletes the outputs.
    stages = STAGES if stage == "check" else [stage]
    code = {"stages/__init__.py"}.union(*(reached(f"stages/{name}.py") for name in stages))
    needed = {listed_as(file) for file in code if not file.startswith(SHAPES_NOTHING)}
    listed = {dep for dep in STAGES[stage]["deps"] if dep.startswith(("pipeline/", "stages/"))}
    missing, needless = "\n".join(sorted(needed - listed)), "\n".join(sorted(listed - needed))
    assert not missing, f"dvc.yaml: stage {stage} imports these, but does not list them as deps:\n{missing}"
    assert not needless, f"dvc.yaml: stage {stage} lists these as deps, but does not import them:\n{needless}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_pins_and_the_check_and_no_hardware(stage: str) -> None:
    assert "constraints.txt" in STAGES[stage]["deps"]
    assert stage == "check" or "data/checked.txt" in STAGES[stage]["deps"]
    sections = {name.partition(".")[0] for name in STAGES[stage]["params"]}
    assert not sections & set(OUTSIDE_THE_EXPERIMENT)
    assert sections <= set(Params.model_fields)


def test_all_experiment_params_are_checked_first() -> None:
    assert set(STAGES["check"]["params"]) == set(Params.model_fields) - set(OUTSIDE_THE_EXPERIMENT)


def test_train_shapes_only_check_train_and_evaluate() -> None:
    assert [name for name, stage in STAGES.items() if "train" in stage["params"]] == ["check", "train", "evaluate"]


def test_dependencies_exist() -> None:
    outs = {
        Path(next(iter(out)) if isinstance(out, dict) else out).as_posix()
        for stage in STAGES.values()
        for out in [*stage.get("outs", ()), *stage.get("metrics", ())]
    }
    for stage in STAGES.values():
        for dep in stage["deps"]:
            assert dep in outs or (REPOSITORY / dep).exists(), dep


LOCK = """
stages:
  train:
    outs:
    - path: models/best
      md5: 0.dir
    - path: train.csv
      md5: 9a0364b9e99bb480dd25e1f0284c8555
"""


def test_the_lock_file_tells_whether_the_results_are_recorded(folder: Path) -> None:
    nothing = dag.locked("train")
    assert not dag.has_recorded("train")
    (folder / "dvc.lock").write_text(LOCK)
    assert dag.locked("evaluate") == nothing != dag.locked("train")
    assert not dag.has_recorded("train"), "there are no results"
    (folder / "train.csv").write_text("content")
    assert dag.has_recorded("train")
    (folder / "train.csv").write_text("other content")
    assert not dag.has_recorded("train")


def test_hashes_are_those_of_dvc(folder: Path) -> None:
    made = "mkdir -p out/a && echo 1 > out/a/x && echo 2 > out/a-b && echo 3 > out/a.txt && echo 4 > file"
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"make": {"cmd": made, "outs": ["out", "file"]}}}))
    for command in (("init", "-q", "--no-scm"), ("repro", "-q")):
        subprocess.run(("dvc", *command), check=True)
    lock = (folder / "dvc.lock").read_text()
    found = dag.outputs("make")
    assert found == {path: dag.locked_output(lock, Path(path)) for path in ("out", "file")}
    assert found["out"].endswith(".dir")
    assert dag.locked_output(lock, Path("other")) is None
