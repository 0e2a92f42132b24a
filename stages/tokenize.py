"""Encode the prepared rows into the token store, and count what max_seq_length cuts off."""

from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import json_file, project
from pipeline.data import store
from pipeline.data.packing import SEPARATING, pack
from pipeline.errors import UserError, counted
from pipeline.model import origin
from pipeline.model.config import load_config
from pipeline.model.tokenizer import make_tokenizer
from pipeline.params import Params
from pipeline.progress import bar
from pipeline.tasks import find
from pipeline.tasks.base import Task
from stages.run import main

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ROWS_AT_ONCE = 10_000


def tokenize(params: Params) -> None:
    """Write data/tokenized: the tokenizer, one Arrow file a split, and truncation.json."""
    task = find(params.task).load(project.PREPARED)
    params = params.model_copy(update={"tokenizer": task.settled(params.tokenizer)})
    texts = (text for rows in _tables("train") for text in task.vocabulary(rows))
    tokenizer = make_tokenizer(params, texts, chat=task.takes_turns)
    tokenizer.save_pretrained(project.TOKENIZED / "tokenizer")
    cut = {}
    for split in project.SPLITS:
        path = project.TOKENIZED / f"{split}.arrow"
        counts: list[dict[str, int]] = []
        if not store.write(path, _examples(task, tokenizer, params, split, counts.append)):
            raise UserError(f"No example of {split} is left: all rows are too long, or hold nothing to predict.")
        cut[split] = {name: (max if name == "longest" else sum)(map(itemgetter(name), counts)) for name in counts[0]}
    origin.note(params)
    json_file.write(project.TOKENIZED / "truncation.json", cut)
    for split, found in cut.items():
        for loss in _losses(found):
            print(f"tokenize: note: {split}: {loss} (tokenizer.max_seq_length, over_length)")


def _losses(found: Mapping[str, int]) -> Iterator[str]:
    """What became of rows that are too long: nobody shall have to open the report to learn that most are gone."""
    rows = counted(found["rows"], "row")
    if found["rows_dropped"]:
        yield f"{found['rows_dropped']:,} of {rows} left out"
    if found["rows_cut"]:
        yield f"{found['rows_cut']:,} of {rows} cut, with {found['tokens_cut'] / found['tokens']:.1%} of all tokens"


def _examples(
    task: Task,
    tokenizer: "PreTrainedTokenizerBase",
    params: Params,
    split: str,
    note: Callable[[dict[str, int]], None],
) -> Iterator[pa.Table]:
    """The examples of a split, part by part; `row` is a place in the whole split.

    Args:
        note: is told what was cut off of each part: of the whole, it would take memory for every row.
    """
    # Another model would read every piece of a block as a row, as wide as the longest of them.
    packed = task.is_packed and split == "train" and load_config(params.model).model_type in SEPARATING
    first = 0
    for rows in _tables(split):
        examples = task.encode(rows, tokenizer, params.tokenizer, split == "train")
        if first and "row" in examples.column_names:
            places = pc.add(examples["row"], pa.scalar(first, pa.int32()))
            examples = examples.set_column(examples.column_names.index("row"), "row", places)
        first += len(rows)
        if packed:
            examples = pack(examples, params.tokenizer.max_seq_length)
        note(store.Store(examples).truncation(len(rows)))
        yield examples


def _tables(split: str) -> Iterator[pa.Table]:
    # With buffers ahead, pyarrow holds all that it has read of the file.
    file = pq.ParquetFile(project.PREPARED / f"{split}.parquet", pre_buffer=False)
    with bar(f"tokenize {split}", file.metadata.num_rows) as progress:
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            yield pa.Table.from_batches([batch])
            progress.advance(len(batch))


if __name__ == "__main__":
    main(tokenize)
