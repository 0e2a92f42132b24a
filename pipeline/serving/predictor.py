"""An exported model that answers texts, whatever its task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pipeline import project, tasks
from pipeline.data.batches import micro_batches
from pipeline.data.rows import texts_of
from pipeline.data.store import Store
from pipeline.errors import UserError, did_you_mean, first_line
from pipeline.evaluation.predict import predict
from pipeline.model import export
from pipeline.params import Hardware
from pipeline.serving import card
from pipeline.tasks.base import Predictions, Task
from pipeline.world import World

Answer = dict[str, str | float]
"""What a task tells somebody who asks; the first value is the answer."""


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

    @classmethod
    def load(cls, folder: Path, hardware: Hardware) -> Self:
        """The predictor of an exported model.

        Raises:
            UserError: there is no folder, no model in it, none that Reprise exported, or it is damaged.
        """
        found = card.read(folder)
        if found.task not in tasks.names():
            near = did_you_mean(found.task, tasks.names())
            raise UserError(
                f"{folder / project.MODEL_CARD}: there is no task '{found.task}' in this version of Reprise.{near}"
            )
        world = World.start(hardware, "fp32")
        try:
            config = AutoConfig.from_pretrained(folder)
            task = tasks.find(found.task)(tuple(config.id2label[place] for place in range(len(config.id2label))))
            model = export.load(folder, task).to(world.device)  # type: ignore[arg-type]
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UserError(
                f"{folder}: the model cannot be loaded: {first_line(error)}\n"
                "A file of it is missing or damaged; the last good one comes back with: dvc checkout"
            ) from error
        return cls(found, task, model, tokenizer, world, hardware.forward_tokens)

    def answer(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Answer]:
        """Answers to texts, or to pairs of texts, in their order.

        Args:
            pairs: the second text of each pair, for a model that was trained on pairs.

        Raises:
            UserError: the model takes pairs and there are none, or the other way round, or their numbers differ.
        """
        if (pairs is None) == (self.card.text_columns == 2):
            need = "pairs of texts" if pairs is None else "single texts, not pairs"
            raise UserError(f"This model was trained on {need}.")
        if pairs is not None and len(pairs) != len(texts):
            raise UserError(f"Every text needs its pair: there are {len(texts)} texts and {len(pairs)} pairs.")
        if not texts:
            return []
        columns = {"text": pa.array(texts, pa.string())}
        if pairs is not None:
            columns["text_pair"] = pa.array(pairs, pa.string())
        # Nobody knows the labels; a place is kept for them, since examples have one.
        columns["label"] = pa.array(np.zeros(len(texts), np.int32))
        encoded = self.task.encode(pa.table(columns), self._tokenizer, self.card.max_seq_length)
        return self._forward(Store(encoded))

    def judged(self, rows: pa.Table, labels: Sequence[str]) -> tuple[Task, Predictions]:
        """What the model says to prepared rows, which may have labels that it never heard of.

        Args:
            labels: the names of the labels of the rows, by their ids.

        Returns:
            The task with the labels of both, and the predictions, in the order of the rows. The loss of a label that
            the model does not know is infinite.

        Raises:
            UserError: the rows are pairs and the model takes single texts, or the other way round.
        """
        if len(texts_of(rows)) != self.card.text_columns:
            raise UserError("The rows and the model differ in how many texts a row has.")
        places = {name: place for place, name in enumerate(self.task.labels)}
        named = [labels[label] for label in rows["label"].to_pylist()]
        # A label that the model does not know needs some place, since examples have one; its target is set below.
        known = pa.array([places.get(name, 0) for name in named], pa.int32())
        encoded = self.task.encode(
            rows.set_column(rows.column_names.index("label"), "label", known), self._tokenizer, self.card.max_seq_length
        )
        found = predict(self._model, self.task, Store(encoded), self._world, self._micro_batch_tokens, "score again")
        unknown = np.array([name not in places for name in named])
        found["loss"] = np.where(unknown, np.inf, found["loss"])
        columns = self.task.columns(found) | {"target": pa.array(named)}
        task = type(self.task)(tuple(dict.fromkeys([*self.task.labels, *labels])))
        return task, task.from_columns(pa.table(columns))

    def _forward(self, examples: Store) -> list[Answer]:
        answers: list[Answer] = [{}] * len(examples)
        with torch.inference_mode():
            for indices in micro_batches(examples.lengths, np.arange(len(examples)), self._micro_batch_tokens):
                chosen = examples.examples(indices)
                batch = self.task.collate(chosen, self._model.config.pad_token_id).to(self._world.device)
                logits = self._model(**batch.inputs).logits
                for index, answer in zip(indices.tolist(), self.task.answers(logits), strict=True):
                    answers[index] = answer
        return answers
