"""What is compared: runs, or groups of runs that differ in their seed, with their answers to the same rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.errors import UserError
from pipeline.evaluation import examples
from pipeline.evaluation.examples import Examples
from pipeline.evaluation.matching import match, mismatch
from pipeline.tracking import groups, records
from pipeline.tracking.records import Record


@dataclass(frozen=True)
class Side:
    """One of what is compared.

    Attributes:
        record: the run, or the parent of its seeds.
        runs: the runs of its seeds, or the run alone.
        answers: what each of these answered.
    """

    record: Record
    runs: Sequence[Record]
    answers: Sequence[Examples]

    @property
    def name(self) -> str:
        """What people know it by: what they asked for, or the run's name where that was an id."""
        return self.record.name if self.record.called == self.record.id else self.record.called


def load(called: Sequence[str], split: str, experiment_name: str) -> list[Side]:
    """The runs that are called so, with their answers to the rows of a split.

    Raises:
        UserError: a run is not there, was not evaluated, or did another task than the first.
    """
    sides = []
    with TemporaryDirectory() as folder:
        for name in called:
            record = records.find(name, experiment_name)
            runs = groups.members_of(record)
            sides.append(Side(record, runs, [_answers(run, split, Path(folder) / run.id) for run in runs]))
    for side in sides[1:]:
        tasks = [type(found.answers[0].task) for found in (sides[0], side)]
        if tasks[0] is not tasks[1]:
            raise UserError(f"{sides[0].name} and {side.name} did other tasks, and cannot be compared.")
    return sides


def same_rows(sides: Sequence[Side], common: bool) -> list[Side]:
    """The sides with their answers in one order, each to the same rows.

    Args:
        common: take the rows that all have; else they all must have the same.

    Raises:
        UserError: the rows differ, or there are none that all have.
    """
    first = sides[0]
    if not common:
        for side in sides:
            for run, answers in zip(side.runs, side.answers, strict=True):
                if found := mismatch(first.answers[0], answers):
                    raise UserError(
                        f"{first.name} and {side.name if len(side.runs) == 1 else run.name} were not evaluated on the "
                        f"same rows. Of {first.name} (the first) and the other: {found}.\n"
                        "To compare the rows that both have: --common"
                    )
    matched = match([answers for side in sides for answers in side.answers])
    if not len(matched[0]):
        raise UserError("There is no row that all of them were evaluated on.")
    in_turn = iter(matched)
    return [replace(side, answers=[next(in_turn) for _ in side.answers]) for side in sides]


def _answers(record: Record, split: str, folder: Path) -> Examples:
    path = record.fetch(f"report/examples/{split}.parquet", folder)
    if path is None:
        raise UserError(
            f"The run {record.name} ({record.id}) has no answers to the {split} rows: it was not evaluated.\n"
            "Evaluate it: dvc repro"
        )
    return examples.read(path)
