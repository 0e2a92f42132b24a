"""What pyproject.toml declares, constraints.txt pins and CONTRIBUTING.md explains is what the code imports."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OURS = {"benchmarks", "pipeline", "stages", "tests"}
# The GPU build of torch brings these, each pinned by torch itself; the CPU build and macOS have none of them.
CUDA = ("cuda-", "nvidia-", "triton")


EXTRAS = ("dev", "remote", "services")


def declared(extra: str | None = None) -> dict[str, Requirement]:
    """The declared dependencies, or those of an extra, by canonical name."""
    project = PROJECT["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def all_declared() -> dict[str, Requirement]:
    """The declared dependencies with those of all extras."""
    return declared() | {name: needed for extra in EXTRAS for name, needed in declared(extra).items()}


def pins() -> dict[str, str]:
    """The version that constraints.txt pins, by canonical name."""
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in pinned_lines())}


def version(name: str) -> str | None:
    """The installed version, without what names its build; None if there is none."""
    try:
        return metadata.version(name).split("+")[0]
    except metadata.PackageNotFoundError:
        return None


def pinned_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def third_party(*folders: str) -> dict[str, Path]:
    """The packages that the code of these folders imports, each with one file that does."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for name in top_level_imports(path):
                if name not in OURS and name not in sys.stdlib_module_names:
                    found.setdefault(name, path.relative_to(ROOT))
    return found


def top_level_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def distributions(*folders: str) -> dict[str, Path]:
    """As `third_party`, by the names under which the packages are installed (yaml: pyyaml)."""
    # What only some extras bring need not be installed here, and this one is not called as its module.
    known = {"psycopg2": ["psycopg2-binary"], **metadata.packages_distributions()}
    return {
        canonicalize_name(name): path
        for module, path in third_party(*folders).items()
        for name in known.get(module, [module])
        # mlflow's modules belong to mlflow-skinny and mlflow-tracing, too, which only mlflow depends on.
        if module != "mlflow" or name == "mlflow"
    }


def reasons(heading: str) -> set[str]:
    """The packages in the table under a heading of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    _, found, below = text.partition(f"### {heading}\n")
    assert found, f"CONTRIBUTING.md has no '### {heading}'"
    rows = re.findall(r"^\| (`.+?`) \| .{10,} \|$", below.split("\n#")[0], flags=re.MULTILINE)
    return {canonicalize_name(name) for row in rows for name in re.findall(r"`(.+?)`", row)}


def test_sqlalchemy_opens_a_database_in_a_folder_with_a_space():
    # 2.0 takes the %20 of the database's address for a part of the path.
    assert "2.0.49" not in declared()["sqlalchemy"].specifier


def test_what_the_code_imports_is_declared():
    undeclared = {name: path for name, path in distributions("pipeline", "stages").items() if name not in declared()}
    assert not undeclared, "add to pyproject.toml's dependencies, constraints.txt and CONTRIBUTING.md, or import less"


def test_what_the_tests_import_is_declared():
    known = all_declared()
    assert not {name: path for name, path in distributions("tests").items() if name not in known}


def test_every_dependency_is_imported_or_has_a_reason_to_be_there():
    imported = set(distributions("pipeline", "stages"))
    assert reasons("Imported") == imported & set(declared())
    assert reasons("Needed without an import") == set(declared()) - imported
    assert reasons("For development") == set(declared("dev")) | set(declared("services"))
    assert reasons("For S3 and PostgreSQL") == set(declared("remote"))


def test_constraints_hold_one_exact_version_a_line():
    lines = pinned_lines()
    odd = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*", line)]
    assert not odd, "a constraint is name==version: no marker, extra, address or local version (+cpu)"
    assert len(pins()) == len(lines), "a package is pinned twice"
    assert lines == sorted(lines, key=str.upper), "in alphabetical order, so that a renewal reads as a list of changes"


def test_constraints_pin_every_declared_dependency_within_its_bounds():
    pinned = pins()
    for name, requirement in all_declared().items():
        assert name in pinned
        assert pinned[name] in requirement.specifier, f"{name}: constraints.txt pins less than pyproject.toml asks for"


def test_constraints_pin_what_the_dependencies_depend_on():
    pinned, seen = pins(), set()
    # Extras that are not installed here cannot say what they depend on.
    there = {name: needed for name, needed in all_declared().items() if version(name) is not None}
    if any(version(name) != pinned[name] for name in there):
        pytest.skip("this environment was not installed from constraints.txt")
    open_ends = [(name, needed.extras) for name, needed in there.items()]
    while open_ends:
        name, extras = open_ends.pop()
        if (name, tuple(extras)) in seen or name.startswith(CUDA):
            continue
        seen.add((name, tuple(extras)))
        assert name in pinned, f"{name} is installed without a pin; make constraints"
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                open_ends.append((canonicalize_name(needed.name), needed.extras))


def test_the_build_uses_the_pinned_setuptools():
    assert PROJECT["build-system"]["requires"] == [f"setuptools=={pins()['setuptools']}"]


def test_every_dependency_has_a_lower_bound():
    for requirement in all_declared().values():
        assert ">=" in {clause.operator for clause in requirement.specifier}, str(requirement)
