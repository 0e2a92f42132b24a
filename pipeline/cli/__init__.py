"""The `reprise` command.

Each sub-command is a module here with a click command named `command`. It is imported only when it is called, so that
`reprise --help` waits for no torch. A sub-command runs in the project's folder; a path among its arguments means the
folder that the user stands in, so it is declared as `click.Path(resolve_path=True)`.
"""

import copy
import os
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from pipeline import environment
from pipeline.errors import UserError, did_you_mean

COMMANDS = {
    "init": "Write a params.yaml that suits your own data.",
    "params": "Write a params.yaml of a few lines out whole.",
    "summary": "Show the scores of the last run, and what to do next.",
    "predict": "Label texts, or a file of them, with a model.",
    "ui": "Open MLflow on the charts of this experiment's runs.",
    "compare": "Compare runs: what differs, and whether by more than chance.",
    "seeds": "Train with several seeds, and show how much of a score is luck.",
    "register": "Make a registered version of a run's model.",
    "decide": "Say whether a model may become champion.",
    "promote": "Make a model champion, if the gate lets it pass.",
    "rollback": "Make the champion before this one champion again.",
    "history": "Show how the champions came and went.",
    "retrain": "Train again if anything changed, judge it, propose the results.",
    "checkout": "Put a run's code, params and data into a folder of their own.",
    "verify": "Train a run again, and say whether the model is the same.",
    "sync": "Send to MLflow what it did not take while the runs went on.",
    "gc": "Free what old runs keep in MLflow, DVC's cache and checkpoints.",
}


# Those that look at the results of params.yaml. Its sections `hardware`, `tracking` and `promotion` are no part of the
# experiment: after a change of these alone `dvc repro` runs nothing, so what is wrong there is to be told here.
_OF_VALID_PARAMS = {"summary", "ui", "compare", "seeds", "register", "decide", "promote", "rollback", "history"}

# Those that read runs: what is not in MLflow yet is sent first, and runs whose processes are gone are closed.
_OF_RUNS = {"ui", "compare", "register", "decide", "promote", "checkout", "verify", "gc"}


def _switch_on_tracebacks(_context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        os.environ["REPRISE_DEBUG"] = "1"


_DEBUG = click.Option(
    ["--debug"],
    is_flag=True,
    expose_value=False,
    callback=_switch_on_tracebacks,
    help="Show the traceback of an error (also: REPRISE_DEBUG=1).",
)


class _LazyGroup(click.Group):
    """A group that knows its commands by name, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(
                f"There is no command '{name}'; there are {', '.join(COMMANDS)}.{did_you_mean(name, COMMANDS)}", ctx
            )
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        # A copy: the module's own command stays as it was written, for whoever calls it without this group.
        command: click.Command = copy.copy(import_module(f"pipeline.cli.{cmd_name}").command)
        command.params = [*command.params, _DEBUG]
        if command.callback is not None:
            command.callback = _in_project(command.callback, cmd_name in _OF_VALID_PARAMS, cmd_name in _OF_RUNS)
        return command


def _in_project(callback: Callable[..., Any], of_valid_params: bool, of_runs: bool) -> Callable[..., Any]:
    """The callback, run in the project's folder. Not before: `reprise predict --help` works anywhere."""

    @wraps(callback)
    def run(*args: Any, **kwargs: Any) -> Any:
        folder = _project(Path.cwd())
        running = Path(__file__).resolve().parents[2]
        if (folder / "pipeline").is_dir() and folder.resolve() != running:
            click.echo(f"Note: this `reprise` runs the code of {running}, not that of {folder}.", err=True)
        os.chdir(folder)
        if of_valid_params:
            # Imported here: pydantic takes a moment, and `reprise --help` should not.
            from pipeline import params_file, project

            params_file.read(project.PARAMS)
        if of_runs:
            from pipeline.tracking import journal

            if journal.pending():
                from pipeline.tracking import sync  # imports MLflow, which takes seconds

                sync.catch_up()
        return callback(*args, **kwargs)

    return run


def _project(start: Path) -> Path:
    """The nearest folder from here upward with dvc.yaml and params.yaml; params.yaml may be what is to be written.

    Raises:
        UserError: there is none.
    """
    for marks in (("dvc.yaml", "params.yaml"), ("dvc.yaml",)):
        for folder in (start, *start.parents):
            if all((folder / mark).is_file() for mark in marks):
                return folder
    raise UserError(
        f"{start} is in no Reprise project: no folder from here upward has a dvc.yaml and a params.yaml.\n"
        "Go to the project's folder first."
    )


@click.group(cls=_LazyGroup, params=[_DEBUG], context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="reprise")
def reprise() -> None:
    """Train a transformer from one params.yaml, the same way every time.

    `dvc repro` trains; the commands below do what comes before and after. They work in the project's folder and in
    every folder below it.
    """


def main() -> None:
    """Run the command line, and exit: 0, 1 for an error that the user can mend, 2 for wrong usage, 130 for Ctrl-C."""
    environment.prepare()
    try:
        outcome = reprise.main(prog_name="reprise", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except UserError as error:
        if os.environ.get("REPRISE_DEBUG") == "1":
            raise
        click.echo(str(error), err=True)
        sys.exit(1)
    sys.exit(outcome if isinstance(outcome, int) else 0)
