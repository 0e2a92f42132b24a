"""Whether a run's model may become champion: gathers what both answered to the same rows, and asks the gate."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pipeline import digest, json_file
from pipeline.errors import UserError
from pipeline.evaluation.examples import Examples
from pipeline.evaluation.matching import match
from pipeline.lifecycle import answers, gate
from pipeline.lifecycle.gate import Check
from pipeline.lifecycle.register import digest_of_model, evaluated, scratch
from pipeline.params import Params, Promotion
from pipeline.tracking import history, looks, records
from pipeline.tracking.records import Record
from pipeline.tracking.registry import Registry

Answer = Literal["passed", "not passed"]


@dataclass(frozen=True)
class Decision:
    """What was decided, on what, and why; as decision.json holds it.

    Attributes:
        verdict: `passed` or `not passed`.
        registered_model: the name under which the champion is registered.
        run: the id of the candidate's run.
        model_digest: SHA-256 of the candidate (`digest.of_folder`).
        champion: the champion's version number; None if there was none.
        champion_model_digest: SHA-256 of the champion.
        test_set: what names the rows that decided (`Examples.digest`).
        rows: how many they are.
        gate: the section `promotion` of params.yaml.
        gate_digest: what names these rules.
        checks: the rules, one by one.
        looks: how often these rows were looked at in this experiment, this decision included.
        decided: the time in UTC, as in ISO 8601.
    """

    verdict: Answer
    registered_model: str
    run: str
    run_name: str
    model_digest: str
    champion: str | None
    champion_model_digest: str | None
    test_set: str
    rows: int
    gate: Mapping[str, Any]
    gate_digest: str
    checks: tuple[Check, ...]
    looks: int
    who: str
    decided: str
    commit: str | None
    ci_run: str | None

    @property
    def passed(self) -> bool:
        """Whether the candidate may become champion."""
        return self.verdict == "passed"

    @property
    def digest(self) -> str:
        """SHA-256 of all that it says."""
        return digest.of_value(asdict(self))

    @property
    def tag(self) -> str:
        """The tag of the candidate's run that vouches for it."""
        return f"reprise.decision.{self.digest[:16]}"

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        json_file.write(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """The decision in a file.

        Raises:
            UserError: it is none.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            checks = tuple(Check(**check) for check in values.pop("checks"))
            return cls(**values, checks=checks)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is no decision ({error}). Make one: reprise decide --output {path}") from None


def decide(called: str, params: Params) -> Decision:
    """Judge the candidate against the champion, and keep the decision with the candidate's run.

    Args:
        called: the candidate's run, as `records.find` takes it; `workspace` is that of models/best.

    Raises:
        UserError: there is no such run, it was not evaluated, or the champion cannot be judged on its test rows.
    """
    record = records.find(called, params.tracking.experiment_name)
    registry = Registry.open(params.tracking.model)
    with scratch() as folder:
        decision = _decide(record, registry, params, folder)
        path = folder / f"{decision.digest}.json"
        decision.write(path)
        registry.keep_decision(record.id, path, decision.tag, decision.verdict)
    return decision


def of_gate(settings: Promotion) -> str:
    """What names the rules of the gate."""
    return digest.of_value(settings.model_dump(mode="json"))


def test_rows(record: Record, folder: Path) -> Examples:
    """What a candidate answered to its test rows.

    Raises:
        UserError: it was not evaluated.
    """
    found = evaluated(record, folder)
    if found is None:
        raise UserError(
            f"The run {record.name} ({record.id}) has no answers to test rows: it was not evaluated, or before this "
            "version.\nEvaluate it: dvc repro; or send what MLflow has not got yet: reprise sync"
        )
    return found


def _decide(record: Record, registry: Registry, params: Params, folder: Path) -> Decision:
    model_digest, candidate = digest_of_model(record), test_rows(record, folder)
    champion, earlier = registry.champion(), []
    if champion is not None and params.promotion.required == "non-inferior":
        earlier = answers.of_earlier(registry, champion, candidate, params, folder)
    theirs = None if champion is None else answers.of_champion(registry, champion, candidate, params, folder)
    matched = match([found for found in (candidate, theirs, *earlier) if found is not None])
    verdict = gate.judge(
        matched[0], None if theirs is None else matched[1], matched[2:], params.promotion, params.evaluate.n_resamples
    )
    looks.look(record, candidate.digest, f"decide against {'no champion' if champion is None else champion}")
    return Decision(
        verdict="passed" if verdict.passed else "not passed",
        registered_model=registry.name,
        run=record.id,
        run_name=record.name,
        model_digest=model_digest,
        champion=None if champion is None else champion.number,
        champion_model_digest=None if champion is None else champion.model_digest,
        test_set=candidate.digest,
        rows=len(candidate),
        gate=params.promotion.model_dump(mode="json"),
        gate_digest=of_gate(params.promotion),
        checks=verdict.checks,
        looks=looks.count(record.experiment, candidate.digest),
        who=history.who(),
        decided=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=history.commit(),
        ci_run=history.ci_run(),
    )
