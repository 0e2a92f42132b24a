"""A lower layer never imports a higher one. The imports are read, not run: also those inside functions count."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the bottom up. A layer is a module or folder of pipeline/ (`base`: the single modules that everybody may know),
# or stages/. Each may import itself and what stands below it.
BASE = {"errors", "project", "digest", "environment", "progress"}
BASE |= {"own", "json_file", "yaml_file", "params", "params_file", "dag", "scores", "views"}
ORDER = ["base", "data", "metrics", "tasks", "model", "world", "evaluation", "training"]
# Those beside the order, and what they may know.
BESIDE = {
    "tracking": {"base"},
    "serving": {"base", "data", "metrics", "tasks", "model", "world", "evaluation", "tracking"},
    "lifecycle": {"base", "data", "metrics", "tasks", "model", "world", "evaluation", "tracking", "serving"},
    "cli": {*ORDER, "tracking", "serving", "lifecycle"},
    "stages": {*ORDER, "tracking", "serving"},
}
# Packages that only some layers import.
RESERVED = {"mlflow": {"tracking", "serving"}}
# Packages that a layer never imports.
BANNED = {"tracking": {"torch", "transformers", "datasets"}}


def layer(module: str) -> str:
    """The layer that a module of ours belongs to."""
    top, *below = module.split(".")
    if top == "stages":
        return "stages"
    if not below or below[0] in BASE:  # pipeline/__init__.py holds a docstring alone
        return "base"
    return below[0]


def fault(importer: str, imported: str) -> str | None:
    """What is wrong with the import, or None."""
    own, top = layer(importer), imported.split(".")[0]
    if own not in ORDER and own not in BESIDE:
        return f"{importer} belongs to no layer: name '{own}' in tests/test_layers.py"
    if top in ("pipeline", "stages"):
        below = BESIDE[own] if own in BESIDE else set(ORDER[: ORDER.index(own)])
        other = layer(imported)
        return (
            None
            if other in below | {own}
            else f"{importer} ({own}) imports {imported} ({other}), which is no lower layer"
        )
    if own not in RESERVED.get(top, {own}):
        return f"{importer} imports {top}; only {', '.join(sorted(RESERVED[top]))} does"
    if top in BANNED.get(own, set()):
        return f"{importer} imports {top}, which {own} does without"
    return None


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of ours by its dotted name."""
    for path in sorted([*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("stages/**/*.py")]):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def imports(source: str, importer: str = "") -> Iterator[str]:
    """The dotted names of all modules that a source file imports, wherever in the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer}, line {node.lineno}: a relative import; name the package"
            # With the name behind it: `from pipeline import model` is an import of pipeline.model.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_import_goes_down():
    faults = [
        found
        for importer, path in modules()
        for imported in imports(path.read_text(encoding="utf-8"), importer)
        if (found := fault(importer, imported))
    ]
    assert not faults, "\n".join(faults)


def test_the_scan_sees_the_code():
    found = {importer: set(imports(path.read_text(encoding="utf-8"))) for importer, path in modules()}
    assert "pipeline.errors.UserError" in found["pipeline.params_file"]
    assert {layer(importer) for importer in found} >= {*ORDER, *BESIDE}


def test_no_task_imports_another():
    inside = {importer: path for importer, path in modules() if importer.startswith("pipeline.tasks.")}
    tasks = {importer for importer in inside if importer.count(".") == 2} - {"pipeline.tasks.base"}
    assert "pipeline.tasks.causal_lm" in tasks
    for importer, path in inside.items():
        named = set(imports(path.read_text(encoding="utf-8")))
        others = {task for task in tasks - {importer} if any(f"{name}.".startswith(f"{task}.") for name in named)}
        assert not others, f"{importer} imports {others}: what tasks share lies in pipeline/tasks/base or below"


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("pipeline.errors", "pipeline.data.rows"),
        ("pipeline.data.rows", "pipeline.training.loop"),
        ("pipeline.world", "pipeline.evaluation.predict"),
        ("pipeline.evaluation.report", "pipeline.training.loop.steps"),
        ("pipeline.training.train", "pipeline.tracking.run"),
        ("pipeline.training.train", "mlflow"),
        ("pipeline.cli.ui", "mlflow.tracking"),
        ("pipeline.tracking.run", "torch.nn"),
        ("pipeline.tracking.run", "pipeline.data.rows"),
        ("pipeline.cli.summary", "stages.run"),
        ("pipeline.serving.predictor", "pipeline.training.train"),
        ("pipeline.serving.predictor", "pipeline.lifecycle.compare"),
        ("pipeline.lifecycle.compare", "mlflow"),
        ("pipeline.lifecycle.compare", "pipeline.training.train"),
        ("pipeline.training.train", "stages.run.main"),
        ("pipeline.unheard_of", "json"),
    ],
)
def test_an_import_that_goes_up_is_found(importer: str, imported: str):
    assert fault(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("pipeline.params_file", "pipeline.params"),
        ("pipeline.training.train", "pipeline.data.rows"),
        ("pipeline.training.train", "torch"),
        ("pipeline.tracking.run", "mlflow.tracking"),
        ("pipeline.tracking.run", "pipeline.params"),
        ("pipeline.cli.ui", "pipeline.tracking.store"),
        ("stages.train", "pipeline.training.train"),
        ("stages.train", "stages.run"),
    ],
)
def test_an_import_that_goes_down_is_fine(importer: str, imported: str):
    assert fault(importer, imported) is None


def test_imports_inside_functions_and_behind_type_checking_count():
    source = "def late():\n    import mlflow.tracking\nif TYPE_CHECKING:\n    from pipeline import model\n"
    assert set(imports(source)) == {"mlflow.tracking", "pipeline.model"}
