"""An exported model that answers what is asked, whatever its task."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pipeline import project, tasks
from pipeline.data.store import Store
from pipeline.errors import UserError, first_line
from pipeline.evaluation.generate import generate
from pipeline.evaluation.predict import predict
from pipeline.model import export
from pipeline.params import Evaluate, Hardware
from pipeline.serving import card
from pipeline.serving.asking import Row
from pipeline.tasks.base import Answer, Collation, Predictions, Task
from pipeline.world import World


@dataclass(frozen=True)
class Predictor:
    """A model with all that it needs to answer.

    Attributes:
        card: what the model was trained for.
        task: that task, with the labels of the model.
    """

    card: card.Card
    task: Task
    _model: PreTrainedModel
    _tokenizer: PreTrainedTokenizerBase
    _world: World
    _micro_batch_tokens: int
    _evaluate: Evaluate

    @classmethod
    def load(cls, folder: Path, hardware: Hardware, evaluate: Evaluate | None = None) -> Self:
        """The predictor of an exported model.

        Args:
            evaluate: how a model that answers with texts writes them; None: as a params.yaml without a word of it.

        Raises:
            UserError: there is no folder, no model in it, none that Reprise exported, or it is damaged.
        """
        found = card.read(folder)
        kind = tasks.find(found.task, str(folder / project.MODEL_CARD))
        world = World.start(hardware, "fp32")
        try:
            task = kind.of_state(found.state)
            model = export.load(folder, task).to(world.device)  # type: ignore[arg-type]
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UserError(
                f"{folder}: the model cannot be loaded: {first_line(error)}\n"
                "A file of it is missing or damaged; the last good one comes back with: dvc checkout"
            ) from error
        return cls(found, task, model, tokenizer, world, hardware.forward_tokens, evaluate or Evaluate())

    def ask(self, rows: Sequence[Row]) -> list[Answer]:
        """Answers to rows of `asking.settled` values, in their order; a column may hold texts and lists of words."""
        alike: dict[tuple[type, ...], list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            alike[tuple(map(type, row.values()))].append(place)
        answers: list[Answer] = [{}] * len(rows)
        for places in alike.values():
            found = self.answer(pa.Table.from_pylist([rows[place] for place in places]))
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer
        return answers

    def answer(self, rows: pa.Table) -> list[Answer]:
        """Answers to rows with the columns of `card.columns`, in their order.

        Raises:
            UserError: a column is missing, or a row cannot be encoded.
        """
        if missing := [name for name in self.card.columns if name not in rows.column_names]:
            raise UserError(f"This model reads {', '.join(self.card.columns)}; '{missing[0]}' is missing.")
        if not len(rows):
            return []
        ids = pa.array([f"row {place}" for place in range(len(rows))], pa.string())
        asked = rows.select(self.card.columns).add_column(0, "id", ids)
        if self.task.generates != "none":
            return self.task.answers({}, self._written(asked, "answer"))
        found = self._predicted(self.task.unanswered(asked), "answer", _Asked)
        return self.task.answers(self.task.spelled(found, self._tokenizer), asked)

    def judged(self, rows: pa.Table, labels: Sequence[str]) -> tuple[Task, Predictions]:
        """What the model says to prepared rows, which may have labels that it never heard of.

        Args:
            labels: the names of the labels of the rows, by their ids.

        Returns:
            The task with the labels of both, and the predictions, in the order of the rows. The loss of a label that
            the model does not know is infinite.

        Raises:
            UserError: the rows have other columns than the model reads, or its task needs a reference for them.
        """
        if self.task.needs_reference:
            raise UserError(
                f"A {self.card.task} model is compared with what it said before it was trained, which is known of the "
                "rows of its own training alone, so that it cannot be scored on others."
            )
        if not set(self.card.columns) <= set(rows.column_names):
            raise UserError(f"The model reads {', '.join(self.card.columns)}, which is not what the rows have.")
        if tuple(labels) == self.task.labels or "label" not in rows.column_names:
            return self.task, self._predicted(rows, "score again")
        named = [_named(label, labels) for label in rows["label"].to_pylist()]
        known, unknown = _known(named, self.task.labels)
        found = self._predicted(rows.set_column(rows.column_names.index("label"), "label", known), "score again")
        found["loss"] = np.where(unknown, np.inf, found["loss"])
        columns = self.task.columns(found) | {"target": pa.array(named)}
        task = replace(self.task, labels=tuple(dict.fromkeys([*self.task.labels, *labels])))
        return task, task.from_columns(pa.table(columns))

    def _predicted(self, rows: pa.Table, title: str, store: type[Store] = Store) -> Predictions:
        encoded = self.task.encode(rows, self._tokenizer, self.task.settled(self.card.tokenizer), False)
        collation, tokens = Collation(self._model.config, self._tokenizer), self._micro_batch_tokens
        found = predict(self._model, self.task, store(encoded), rows, collation, self._world, tokens, title)
        return self.task.with_texts(found, self._written(rows, title)) if self.task.generates == "all" else found

    def _written(self, rows: pa.Table, title: str) -> pa.Table:
        collation, tokens = Collation(self._model.config, self._tokenizer), self._micro_batch_tokens
        settings = self.task.settled(self.card.tokenizer), self._evaluate
        return generate(self._model, self.task, rows, collation, self._world, *settings, tokens, title)


class _Asked(Store):
    """Examples of somebody who asks: what is drawn for one hangs on its place in its row, not on what else is asked."""

    def examples(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        first = np.searchsorted(self.rows, self.rows[indices])
        return super().examples(indices) | {"index": np.asarray(indices) - first}


def _named(label: int | list[int], labels: Sequence[str]) -> str | list[str]:
    return [labels[place] for place in label] if isinstance(label, list) else labels[label]


def _known(named: Sequence[str | list[str]], labels: Sequence[str]) -> tuple[pa.Array, np.ndarray]:
    """The ids of the labels that a model knows, and which rows have another one, (rows,) bool.

    A single label that it does not know needs some id, since examples have one; its target is set later.
    """
    places = {name: place for place, name in enumerate(labels)}
    unknown = np.array([not places.keys() >= ({name} if isinstance(name, str) else set(name)) for name in named])
    if isinstance(named[0], str):
        return pa.array([places.get(str(name), 0) for name in named], pa.int32()), unknown
    ids = [sorted(places[name] for name in names if name in places) for names in named]
    return pa.array(ids, pa.list_(pa.int32())), unknown
