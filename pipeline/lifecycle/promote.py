"""Making a model champion on the evidence of a decision, and going back to the champion before."""

from pathlib import Path

from pipeline.errors import UserError
from pipeline.lifecycle.decide import Decision, decide, of_gate, test_rows
from pipeline.lifecycle.register import digest_of_model, register, scratch
from pipeline.params import Params
from pipeline.tracking import history, records
from pipeline.tracking.history import Event, Kind
from pipeline.tracking.registry import Registry


def promote(
    called: str | None, params: Params, decided: Path | None = None, reason: str | None = None
) -> tuple[Decision, Event | None]:
    """Make the model of a run champion, if the decision lets it pass.

    Args:
        called: the run, as `records.find` takes it; None: the one that was decided on, else that of models/best.
        decided: a decision to go by; None decides now.
        reason: why it shall be champion even if it does not pass.

    Returns:
        The decision, and the promotion: None if it did not pass, or is champion already.

    Raises:
        UserError: the champion, the model, its test rows or the gate changed since the decision.
    """
    decision = decide(called or "workspace", params) if decided is None else _checked(decided, called, params)
    if not decision.passed and reason is None:
        return decision, None
    version, _ = register(decision.run, params, decision.registered_model)
    registry = Registry.open(decision.registered_model)
    if version.number == registry.state().champion:
        return decision, None
    kind: Kind = "promoted" if decision.passed else "forced"
    evidence = {"decision": decision.digest, "verdict": decision.verdict, "reason": reason}
    return decision, registry.move(version, decision.champion, kind, **evidence)


def rollback(params: Params, name: str | None, to: str | None, reason: str | None) -> Event:
    """Make the champion before this one champion again, or the version `to`.

    Raises:
        UserError: there is none before it, or somebody moved the alias without Reprise.
    """
    registry = Registry.open(name or params.tracking.model)
    state = registry.state()
    if state.champion is None:
        raise UserError(f"'{registry.name}' has no champion: there is nothing to roll back.")
    if to is None:
        to = _before(registry.name, state.champion, history.champions(state.events))
    if to == state.champion:
        raise UserError(f"Version {to} of '{registry.name}' is champion already.")
    return registry.move(registry.version(to), state.champion, "rolled back", reason=reason)


def _before(model: str, champion: str, champions: list[str]) -> str:
    if champions[-1:] != [champion]:
        raise UserError(
            f"Version {champion} of '{model}' became champion without Reprise, so what was before it is not known.\n"
            "Name the version: reprise rollback --to VERSION"
        )
    if len(champions) < 2:
        raise UserError(f"Version {champion} is the first champion of '{model}': there is none before it.")
    return champions[-2]


def _checked(path: Path, called: str | None, params: Params) -> Decision:
    """The decision of a file, if all that it was decided on is as it was."""
    decision = Decision.read(path)
    record = records.find(called or decision.run, params.tracking.experiment_name)
    again = "\nDecide again: reprise decide"
    if records.find(decision.run, params.tracking.experiment_name).tags.get(decision.tag) != decision.verdict:
        raise UserError(f"{path} is not as it was decided: the run {decision.run} knows no such decision.{again}")
    if digest_of_model(record) != decision.model_digest:
        raise UserError(f"The model of {record.name} is not the one that {path} was decided on.{again}")
    with scratch() as folder:
        if test_rows(record, folder).digest != decision.test_set:
            raise UserError(f"The test rows of {record.name} changed since {path} was decided.{again}")
    if decision.registered_model != params.tracking.model:
        raise UserError(
            f"{path} was decided for '{decision.registered_model}', and params.yaml names '{params.tracking.model}' "
            f"(tracking.registered_model_name, else experiment_name).{again}"
        )
    if of_gate(params.promotion) != decision.gate_digest:
        raise UserError(f"The rules of promotion in params.yaml changed since {path} was decided.{again}")
    champion = Registry.open(decision.registered_model).champion()
    number = None if champion is None else champion.number
    # A step of CI that is run once more finds its own promotion: there is nothing left to do.
    done = champion is not None and champion.model_digest == decision.model_digest
    if number != decision.champion and not done:
        raise UserError(
            f"The champion of '{decision.registered_model}' changed since {path} was decided: "
            f"it was {decision.champion or 'none'}, and is {number or 'none'}.{again}"
        )
    return decision
