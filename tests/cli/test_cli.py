import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click
import pytest

from pipeline import cli
from pipeline.errors import UserError

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "transformers", "mlflow", "datasets", "dvc", "numpy", "pandas", "pyarrow", "pydantic", "rich"}

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs `reprise` with these arguments in this process: exit code, stdout, stderr."""
    monkeypatch.setenv("REPRISE_DEBUG", "0")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["reprise", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, and the working folder."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], None]:
    """Makes `reprise probe` call this function."""

    def install(function: Callable[..., object]) -> None:
        module = ModuleType("pipeline.cli.probe")
        module.command = function if isinstance(function, click.Command) else click.command(function)
        monkeypatch.setitem(sys.modules, "pipeline.cli.probe", module)
        monkeypatch.setitem(cli.COMMANDS, "probe", "A command of this test.")

    return install


def test_help_lists_every_command_with_what_it_does(call: Call):
    code, out, _ = call("--help")
    assert code == 0
    for name, sentence in cli.COMMANDS.items():
        assert name in out
        assert sentence in out


def test_a_mistyped_command_gets_the_nearest_one(call: Call):
    code, out, err = call("sumary")
    assert (code, out) == (2, "")
    assert "There is no command 'sumary'" in err
    assert "Did you mean 'summary'?" in err


def test_a_mistyped_option_is_wrong_usage(call: Call):
    code, _, err = call("--hlep")
    assert code == 2
    assert "--hlep" in err


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_can_be_loaded_and_helps_outside_a_project(
    name: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(name, "--help")
    assert code == 0
    assert f"reprise {name}" in out
    assert "--debug" in out


def test_help_imports_nothing_that_takes_long():
    program = (
        "import sys; from pipeline.cli import reprise; reprise.main(['--help'], standalone_mode=False); "
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_python_m_runs_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: reprise ")


def test_a_command_runs_in_the_projects_folder(call: Call, command, project: Path, monkeypatch: pytest.MonkeyPatch):
    command(lambda: click.echo(Path.cwd()))
    (project / "data" / "raw").mkdir(parents=True)
    monkeypatch.chdir(project / "data" / "raw")
    assert call("probe") == (0, f"{project}\n", "")


def test_a_path_among_the_arguments_means_the_users_folder(
    call: Call, command, project: Path, monkeypatch: pytest.MonkeyPatch
):
    @click.command
    @click.argument("file", type=click.Path(resolve_path=True))
    def probe(file: str) -> None:
        click.echo(file)

    command(probe)
    (project / "data").mkdir()
    monkeypatch.chdir(project / "data")
    assert call("probe", "rows.csv")[1] == f"{project / 'data' / 'rows.csv'}\n"


def test_a_command_runs_where_params_yaml_is_still_to_be_written(call: Call, command, project: Path):
    command(lambda: click.echo(Path.cwd()))
    (project / "params.yaml").unlink()
    assert call("probe") == (0, f"{project}\n", "")


def test_outside_a_project_it_says_where_to_go(call: Call, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    command(lambda: None)
    monkeypatch.chdir(tmp_path)
    code, out, err = call("probe")
    assert (code, out) == (1, "")
    assert str(tmp_path) in err
    assert "dvc.yaml" in err


def test_another_projects_code_is_no_secret(call: Call, command, project: Path):
    command(lambda: None)
    (project / "pipeline").mkdir()
    code, _, err = call("probe")
    assert code == 0
    assert f"the code of {ROOT}, not that of {project}" in err


@pytest.mark.parametrize("name", ["summary", "ui"])
@pytest.mark.parametrize("section", ["hardware", "tracking", "promotion"])
def test_a_wrong_key_outside_the_experiment_is_told(name: str, section: str, call: Call, project: Path):
    (project / "params.yaml").write_text(f"version: 1\n{section}: {{num_treads: 2}}\n")
    code, out, err = call(name)
    assert (code, out) == (1, "")
    assert err.startswith(f"params.yaml, line 2: there is no key '{section}.num_treads'.")


def test_an_error_that_the_user_can_mend_is_its_message_alone(call: Call, command, project: Path):
    def probe() -> None:
        raise UserError("params.yaml, line 3: there is no key 'lr'.\nDid you mean 'learning_rate'?")

    command(probe)
    assert call("probe") == (1, "", "params.yaml, line 3: there is no key 'lr'.\nDid you mean 'learning_rate'?\n")


@pytest.mark.parametrize("arguments", [("--debug", "probe"), ("probe", "--debug")])
def test_debug_shows_the_traceback(arguments: tuple[str, ...], call: Call, command, project: Path):
    def probe() -> None:
        raise UserError("wrong")

    command(probe)
    with pytest.raises(UserError, match="wrong"):
        call(*arguments)
    assert os.environ["REPRISE_DEBUG"] == "1"


def test_a_defect_of_ours_is_not_hidden(call: Call, command, project: Path):
    command(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call("probe")


def test_ctrl_c_ends_quietly(call: Call, command, project: Path):
    def probe() -> None:
        raise KeyboardInterrupt

    command(probe)
    code, out, err = call("probe")
    assert (code, out, err.strip()) == (130, "", "")


def test_a_commands_own_exit_code_is_kept(call: Call, command, project: Path):
    command(lambda: click.get_current_context().exit(3))
    assert call("probe")[0] == 3


def test_calling_through_the_group_leaves_a_command_as_it_was(call: Call, command, project: Path):
    probe = click.command(lambda: None)
    command(probe)
    before = (probe.callback, list(probe.params))
    assert call("probe")[0] == 0
    assert (probe.callback, probe.params) == before
    assert import_module("pipeline.cli.probe").command is probe
