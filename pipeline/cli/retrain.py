"""`reprise retrain`: what continuous integration needs to train again, in one command that also runs on a laptop."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from pipeline.lifecycle import proposal, retrain, retrain_report
from pipeline.lifecycle.retrain import Request

_NOT_PASSED = 3
_FOLDER = Path(".reprise/retrain")


@click.command("retrain")
@click.argument("phase", required=False, type=click.Choice(["plan", "train", "propose"]))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Train with this value, such as train.learning_rate=1e-4. Those of hardware and tracking are not proposed.",
)
@click.option("--update", metavar="IMPORT", help="Ask the source of this import (data/raw/NAME) for new data first.")
@click.option("--push/--no-push", default=True, help="Push results to the DVC remote, and a branch to git.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, resolve_path=True, path_type=Path),
    help=f"Where the report and what is proposed go.  [default: {_FOLDER}]",
)
@click.option(
    "--outputs",
    type=click.Path(dir_okay=False, resolve_path=True, path_type=Path),
    help="Append changed=..., verdict=... and title=... to this file (CI: $GITHUB_OUTPUT).",
)
def command(
    phase: str | None,
    overrides: tuple[str, ...],
    update: str | None,
    push: bool,
    folder: Path | None,
    outputs: Path | None,
) -> int:
    """Train again if data, parameters or code changed; judge the model; propose the results on a branch.

    Pulls data and results from the DVC remote, runs what changed, registers the model, decides whether it passes the
    gate, writes a report, pushes the results to the DVC remote and the new dvc.lock to the branch reprise/retrain. It
    never moves the alias: that is `reprise promote`.

    With a PHASE it does only that: plan says what would be done, and needs no torch; train does all but the git push;
    propose pushes the branch from the folder that train wrote.

    Exits with 0 if the model passed the gate or nothing changed, with 3 if it did not pass, with 1 for an error. The
    phases exit with 0 when they have done their part.
    """
    request = Request(overrides, update, push, folder or _FOLDER)
    tell = _teller(outputs)
    if phase == "propose":
        _propose(request, proposal.read(request.folder), tell)
        return 0
    reasons = retrain.planned(request)
    tell(changed="true" if reasons else "false")
    click.echo("\n".join(reasons) if reasons else "Nothing changed: there is nothing to train, and nothing was pushed.")
    if phase == "plan" or not reasons:
        return 0
    outcome = retrain.train(request, _say)
    if outcome is None:
        click.echo("Nothing changed after all: the data is what the committed results were made of.")
        return 0
    tell(verdict=outcome.verdict, title=outcome.title)
    click.echo(f"{outcome.title}. The report: {request.folder / proposal.REPORT}")
    if phase == "train":
        return 0
    if push:
        _propose(request, outcome, tell)
    return 0 if outcome.verdict == retrain.PASSED else _NOT_PASSED


def _propose(request: Request, outcome: proposal.Outcome, tell: Callable[..., None]) -> None:
    commit = proposal.propose(request.folder)
    report = (request.folder / proposal.REPORT).read_text(encoding="utf-8")
    (request.folder / proposal.COMMENT).write_text(retrain_report.as_comment(report), encoding="utf-8")
    tell(verdict=outcome.verdict, title=outcome.title, branch=proposal.BRANCH)
    done = f"pushed as {commit[:12]}" if commit else "on the remote already"
    click.echo(f"The results are on the branch {proposal.BRANCH}, {done}. It is yours to merge.")


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()  # what DVC writes comes behind it


def _teller(outputs: Path | None) -> Callable[..., None]:
    def tell(**values: str) -> None:
        if outputs is not None:
            with outputs.open("a", encoding="utf-8") as file:
                file.writelines(f"{name}={' '.join(value.split())}\n" for name, value in values.items())

    return tell
