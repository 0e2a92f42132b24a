"""Encode the prepared rows into the token store, and count what max_seq_length cuts off."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import json_file, project
from pipeline.data import store
from pipeline.model import origin
from pipeline.model.tokenizer import make_tokenizer
from pipeline.params import Params
from pipeline.progress import bar
from pipeline.tasks import find
from stages.run import main

_ROWS_AT_ONCE = 10_000


def tokenize(params: Params) -> None:
    """Write data/tokenized: the tokenizer, one Arrow file a split, and truncation.json."""
    task = find(params.task).load(project.PREPARED)
    tokenizer = make_tokenizer(params, (text for rows in _tables("train") for text in task.texts(rows)))
    max_seq_length = params.tokenizer.max_seq_length
    tokenizer.save_pretrained(project.TOKENIZED / "tokenizer")
    cut = {}
    for split in project.SPLITS:
        path = project.TOKENIZED / f"{split}.arrow"
        store.write(path, (task.encode(rows, tokenizer, max_seq_length) for rows in _tables(split)))
        cut[split] = store.Store(path).truncation()
    origin.note(params)
    json_file.write(project.TOKENIZED / "truncation.json", cut)


def _tables(split: str) -> Iterator[pa.Table]:
    file = pq.ParquetFile(project.PREPARED / f"{split}.parquet")
    with bar(f"tokenize {split}", file.metadata.num_rows) as progress:
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            yield pa.Table.from_batches([batch])
            progress.advance(len(batch))


if __name__ == "__main__":
    main(tokenize)
