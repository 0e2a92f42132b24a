"""Direct preference optimisation: of two replies, the better one shall become more probable than it was.

Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model" (2023,
https://arxiv.org/abs/2305.18290).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from pipeline.data import groups, over_length, turns
from pipeline.data.conversations import ASSISTANT, USER, Message, parsed, replies
from pipeline.data.packing import NO_TARGET
from pipeline.errors import UserError, counted
from pipeline.metrics import generated, preferences
from pipeline.params import Data, Tokenizer, Train
from pipeline.tasks.base import (
    GENERATED,
    Answer,
    Batch,
    Collation,
    Layout,
    Predictions,
    Task,
    grouped_inputs,
    mean_loss,
    padded,
)
from pipeline.views import Column, Table, View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REPLIES = ("chosen", "rejected")
_MOST_CHARACTERS = 400


@final
@dataclass(frozen=True)
class DPO(Task):
    """A row is what is asked, the reply that is preferred, and the other one; each is a list of messages, as JSON.

    With the log-probabilities of both replies to the model as it was before it was trained (the reference), the margin
    of a row is by how much the model has come to prefer the better reply, times `train.beta`. Its loss is the negative
    log-sigmoid of the margin.
    """

    also_called: ClassVar[tuple[str, ...]] = ("preference", "preferences", "rlhf")
    layouts: ClassVar[tuple[Layout, ...]] = (
        Layout(("prompt", "chosen", "rejected")),
        Layout(("conversations", "chosen", "rejected")),
    )
    pipeline_tag: ClassVar[str | None] = "text-generation"
    score_names: ClassVar[tuple[str, ...]] = ("accuracy", "margin")
    share_of_rows: ClassVar[str | None] = "accuracy"
    takes_turns: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = True
    fine_tuning_rate: ClassVar[float | None] = 1e-6  # TRL's default; alignment-handbook's recipes have 5e-7
    smooths_labels: ClassVar[bool] = False
    generates: ClassVar[Literal["none", "asked", "few", "all"]] = "few"
    inputs: tuple[str, ...] = ("prompt",)

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        texts = cls.layout_of(table, data).texts
        if len(texts) != 3:
            raise UserError(
                f"data.text_column_names: {counted(len(texts), 'column')}; this task takes what is asked, "
                "the better reply and the other one."
            )
        replies(table, texts)

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        found = replies(table, self.layout_of(table, data).texts)
        columns = zip(("prompt", *_REPLIES), zip(*found, strict=True), strict=True)
        return pa.table(
            {"id": table["id"]}
            | {name: [json.dumps(said, ensure_ascii=False) for said in messages] for name, messages in columns}
        )

    def texts(self, rows: pa.Table) -> list[tuple[str, ...]]:
        return [tuple(message["content"] for message in asked) for asked in _of(rows, "prompt")]

    def vocabulary(self, rows: pa.Table) -> Iterable[str]:
        return (message["content"] for name in ("prompt", *_REPLIES) for said in _of(rows, name) for message in said)

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        asked, *both = (_of(rows, name) for name in ("prompt", *_REPLIES))
        ids = [row_id for row_id in rows["id"].to_pylist() for _ in both]
        conversations = [prompt + said for prompt, *pair in zip(asked, *both, strict=True) for said in pair]
        every, said = turns.tokens(conversations, ids, tokenizer)
        for place, mask in enumerate(said):
            prompt = asked[place // len(both)]
            if any(message["role"] == ASSISTANT for message in prompt):  # what was said before is no reply
                mask[: len(turns.prompt(prompt, tokenizer))] = False
        sequences = _cut(every, said, ids, settings)
        examples = groups.grouped(sequences, len(both))
        kept, lost = (sequences[name].to_numpy().reshape(-1, len(both)) for name in ("targets", "lost"))
        examples = examples.append_column("lost_targets", pa.array(lost.sum(axis=1), pa.int32()))
        if not training:
            return examples
        whole = examples["full_length"].to_numpy() <= len(both) * settings.max_seq_length
        # Of a reply that was cut off altogether nothing can be learned.
        return groups.only(examples, whole | (settings.over_length != "drop") & (kept > 0).all(axis=1))

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        """The sequences are the better reply to each prompt, then the other one to each."""
        targets = {"labels": padded(groups.sequences(examples, "labels"), NO_TARGET)}
        names = [name for name in ("reference", "beta") if name in examples]
        return Batch(
            grouped_inputs(examples, collation), targets | {name: torch.from_numpy(examples[name]) for name in names}
        )

    def head(self) -> tuple[str, dict[str, Any]]:
        return "AutoModelForCausalLM", {"use_cache": False}

    def reference_columns(self, outputs: Any, batch: Batch, settings: Train) -> dict[str, torch.Tensor]:
        """How much more probable the better reply is, in nats; and beta, which those who evaluate must know, too."""
        found = _preference(outputs, batch)
        return {"reference": found, "beta": torch.full_like(found, settings.beta)}

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        return -functional.logsigmoid(_margins(outputs, batch)).sum()

    def predict(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        margins = _margins(outputs, batch)
        return {"right": margins > 0, "margin": margins, "loss": -functional.logsigmoid(margins)}

    def scores(self, predictions: Predictions) -> dict[str, float]:
        found = {"accuracy": float(predictions["right"].mean())}
        if "margin" in predictions:
            margin = float(predictions["margin"].mean(dtype=np.float64))
            found |= {"margin": margin, "loss": mean_loss(predictions)}
        return found

    def right(self, predictions: Predictions) -> np.ndarray | None:
        return predictions["right"]

    def baselines(self, train: pa.Table, evaluation: pa.Table) -> dict[str, Predictions]:
        known, asked = ([_texts(rows, name) for name in _REPLIES] for rows in (train, evaluation))
        longer = preferences.longer(*asked)
        found = {"longer reply, a coin between equals": longer}
        if (linear := preferences.linear(*known, *asked)) is not None:
            found["TF-IDF + Bradley-Terry"] = linear
        return {name: {"right": right} for name, right in found.items()}

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        asked, preferred = (_texts(rows, name) for name in ("prompt", _REPLIES[0]))
        titles = ("Asked", "Preferred reply")
        written = generated.replies(rows, asked, preferred, titles, "the reply that is preferred there")
        return [written, _wrong(rows, predictions["margin"], most)]

    def prompts(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer
    ) -> Sequence[Sequence[int]]:
        return [turns.prompt(asked, tokenizer) for asked in _of(rows, "prompt")]

    def example(self) -> dict[str, Any]:
        return {"prompt": [{"role": USER, "content": "What does a pipeline do?"}]}

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        return [{"generated_text": text} for text in rows[GENERATED].to_pylist()]


def _cut(
    sequences: Sequence[np.ndarray], said: Sequence[np.ndarray], ids: Sequence[str], settings: Tokenizer
) -> pa.Table:
    """Sequences with the next token of each as its label, if that is said in reply, cut off behind the longest.

    Args:
        ids: where the row of each stands.

    Returns:
        A table with `input_ids`, `labels`, `length`, `full_length`, `targets` (labels kept) and `lost` (cut off).
    """
    most = settings.max_seq_length
    whole = np.array([len(tokens) for tokens in sequences])
    over_length.refuse(whole, ids, settings, "prompt and reply have")
    labels = [
        np.append(np.where(mask[1:], tokens[1:], NO_TARGET), NO_TARGET)[:most]
        for tokens, mask in zip(sequences, said, strict=True)
    ]
    for label in labels:
        label[-1:] = NO_TARGET  # what comes next is cut off
    targets = np.array([int((label != NO_TARGET).sum()) for label in labels])
    lists = {"input_ids": [tokens[:most] for tokens in sequences], "labels": labels}
    return pa.table(
        {name: pa.array(values, pa.list_(pa.int32())) for name, values in lists.items()}
        | {"length": np.minimum(whole, most), "full_length": whole, "targets": targets}
        | {"lost": np.array([int(mask[1:].sum()) for mask in said]) - targets}
    )


def _preference(outputs: Any, batch: Batch) -> torch.Tensor:
    """The log-probability of the better reply less that of the other, (examples,), in nats and fp32."""
    logits = outputs.logits.float().transpose(1, 2)
    found = -functional.cross_entropy(logits, batch.labels, ignore_index=NO_TARGET, reduction="none").sum(dim=1)
    chosen, rejected = found.chunk(2)
    return chosen - rejected


def _margins(outputs: Any, batch: Batch) -> torch.Tensor:
    return batch.targets["beta"] * (_preference(outputs, batch) - batch.targets["reference"])


def _of(rows: pa.Table, name: str) -> list[list[Message]]:
    return [parsed(text) for text in rows[name].to_pylist()]


def _texts(rows: pa.Table, name: str) -> list[str]:
    return ["\n".join(message["content"] for message in messages) for messages in _of(rows, name)]


def _wrong(rows: pa.Table, margins: np.ndarray, most: int) -> Table:
    worst = np.argsort(margins, kind="stable")[:most]
    worst = worst[margins[worst] <= 0].tolist()
    ids, *texts = rows["id"].to_pylist(), *(_texts(rows, name) for name in ("prompt", *_REPLIES))
    return Table(
        name="preferences",
        title="Worst preferences",
        lead="The test rows whose other reply the model has come to prefer most. Look here for rows whose two replies "
        "were exchanged.",
        columns=(
            Column("Row"),
            Column("Margin"),
            *(Column(title, is_text=True) for title in ("Asked", "Preferred reply", "Other reply")),
        ),
        rows=[
            (
                str(ids[row]),
                float(margins[row]),
                *(shorten(column[row], _MOST_CHARACTERS) for column in texts),
            )
            for row in worst
        ],
    )


TASK = DPO
