"""What changed is trained, registered and judged, and what comes of it gathered for a proposal. No alias moves."""

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import dag, project
from pipeline.errors import UserError
from pipeline.evaluation.verdict import headline_score
from pipeline.lifecycle import dvc_workspace, overrides, plan, proposal, retrain_report
from pipeline.lifecycle.proposal import Outcome
from pipeline.params import Params
from pipeline.scores import fitting
from pipeline.tracking import store

if TYPE_CHECKING:
    from pipeline.tracking.records import Record

PASSED = "passed"
DECISION = project.EVALUATION_METRICS.with_name("decision.json")
_NO_REMOTE = "No DVC remote is configured: nobody else can fetch these results; only MLflow may have the model."


@dataclass(frozen=True)
class Request:
    """What a retraining is asked for.

    Attributes:
        set: `KEY=VALUE` each.
        update: an import that is to look at its source.
        push: whether results go to the DVC remote, and a branch to git.
        folder: where the outcome goes.
    """

    set: tuple[str, ...]
    update: str | None
    push: bool
    folder: Path


def planned(request: Request) -> list[str]:
    """Why there is something to do; params.yaml and the imports stay as they are.

    Raises:
        UserError: an override or an import is wrong, or DVC cannot tell.
    """
    before = project.PARAMS.read_bytes() if project.PARAMS.exists() else b""
    try:
        with overrides.written(request.set, project.PARAMS):
            return plan.reasons(plan.pointer_of(request.update) if request.update else None)
    finally:
        if before and project.PARAMS.read_bytes() != before:
            project.PARAMS.write_bytes(before)


def train(request: Request, say: Callable[[str], None]) -> Outcome | None:
    """Pull, run what changed, register, decide, write the report, push to the DVC remote.

    Returns:
        The outcome, which is also in the request's folder; None if nothing changed.

    Raises:
        UserError: something failed, or another retraining is under way here.
        KeyboardInterrupt: it was stopped; the same request goes on from the last step that was saved.
    """
    if request.push:
        proposal.check_committed()
    with _alone():
        remote = dvc_workspace.has_remote()
        with overrides.written(request.set, project.PARAMS) as params:
            if not _made(request, remote, say):
                return None
            outcome, report = _judged(params, () if remote else (_NO_REMOTE,), say)
        # Now params.yaml has no more than what is proposed.
        proposal.gather(outcome, report, request.folder)
        if request.push and remote:
            say("Pushing the results to the DVC remote")
            dvc_workspace.push()
    return outcome


def _made(request: Request, remote: bool, say: Callable[[str], None]) -> bool:
    """Pull, and run what changed; false if nothing did."""
    if request.update:
        dvc_workspace.refresh(plan.pointer_of(request.update), download=True)
    if remote:
        say("Fetching data and the run cache from the DVC remote")
        dvc_workspace.pull()
    else:
        say("No DVC remote is configured: data and results are those of this machine (dvc remote add -d ...)")
    if not plan.reasons(None):
        return False
    dvc_workspace.repro(remote)
    return True


def _judged(params: Params, notes: Sequence[str], say: Callable[[str], None]) -> tuple[Outcome, str]:
    """Register and decide; the outcome and its report."""
    # Imported here: they bring torch and MLflow, which a plan does without.
    from pipeline.lifecycle.decide import decide
    from pipeline.lifecycle.register import register
    from pipeline.tracking import records

    record = records.find(records.WORKSPACE, params.tracking.experiment_name)
    say(f"Registering and judging the run {record.name}")
    version, _ = register(record.id, params)
    decision = decide(record.id, params)
    results = json.loads(project.RESULTS.read_text(encoding="utf-8"))
    passed = "passed the gate" if decision.passed else "did NOT pass the gate"
    title = f"Retrained: {passed} ({_score(results)})"
    # Committed with the results: who merges them approves this very decision, and `reprise promote` goes by it.
    decision.write(DECISION)
    outcome = Outcome(proposal.head(), decision.verdict, record.id, str(version), title)
    facts = retrain_report.Facts(
        title=title,
        decision=decision,
        lock_before=proposal.committed(dag.LOCK),
        lock=dag.LOCK.read_text(encoding="utf-8"),
        scores_before=retrain_report.read_scores(proposal.committed(project.EVALUATION_METRICS)),
        results=results,
        base=outcome.base,
        version=outcome.version,
        run=record.name,
        link=_address(record),
        figures=sorted(path.name for path in (project.REPORTS / "figures").glob("*.png")),
        notes=notes,
    )
    return outcome, retrain_report.render(facts)


def _score(results: Mapping[str, Any]) -> str:
    name = headline_score(results)
    found = results["test"][name]
    value, low, high = (fitting(name, found[bound]) for bound in ("value", "low", "high"))
    return f"test {name.replace('_', ' ')} {value}" + ("" if found["low"] is None else f", {low} to {high}")


def _address(record: "Record") -> str | None:
    """Where a browser finds the run, if a server has it."""
    uri = store.tracking_uri()
    return f"{store.shown()}/#/experiments/{record.experiment}/runs/{record.id}" if store.is_server(uri) else None


@contextmanager
def _alone() -> Iterator[None]:
    """Hold this folder's only retraining within the block.

    Raises:
        UserError: another one is under way.
    """
    lock = project.state() / "retrain.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError("Another retraining is under way in this folder. Wait for its end.") from None
        yield
