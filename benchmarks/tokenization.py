"""From rows to tokens on disk: the stage `tokenize`, datasets' `map`, and the encoder alone, which keeps nothing.

python -m benchmarks.tokenization FOLDER
python -m benchmarks.tokenization FOLDER --texts FILE --megabytes 5000 --only Reprise --repeats 1

FOLDER is that of a pretrained model with a fast tokenizer. The texts are the lines of FILE, or of this project's
documentation, over and over. What is measured begins when everything is imported. The stage and `map` write
files; the tokens of the encoder alone go nowhere.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import contest
from pipeline import environment, project
from pipeline.params import Model, Params, Tokenizer

_REFERENCE = "map"
_MOST = 256  # tokens of a text
_ROWS_AT_ONCE = 2**17
_ENCODED_AT_ONCE = 10_000
_ROWS = project.PREPARED / "train.parquet"


def reprise(model: Path, cores: int) -> Callable[[], object]:
    """The whole stage, as DVC runs it."""
    from stages.tokenize import tokenize

    settings = Tokenizer(max_seq_length=_MOST)
    params = Params(
        task="text-classification", model=Model(model_name_or_path=str(model), config=None), tokenizer=settings
    )
    return lambda: tokenize(params)


def mapped(model: Path, cores: int, processes: int) -> Callable[[], object]:
    """Datasets' `map` over batches of its default size, as transformers' examples have it."""
    from datasets import Dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = Dataset.from_parquet(str(_ROWS), cache_dir="cache")
    return lambda: rows.map(
        lambda batch: tokenizer(batch["text"], truncation=True, max_length=_MOST),
        batched=True,
        num_proc=processes if processes > 1 else None,
        remove_columns=["id", "text"],
        load_from_cache_file=False,
    )


def bare(model: Path, cores: int) -> Callable[[], object]:
    """The encoder of the tokenizers library, on texts that lie in memory."""
    from tokenizers import Tokenizer as Encoder

    encoder = Encoder.from_file(str(model / "tokenizer.json"))
    encoder.no_padding()
    encoder.enable_truncation(_MOST)
    texts = pq.read_table(_ROWS, columns=["text"])["text"].to_pylist()
    parts = [texts[begin : begin + _ENCODED_AT_ONCE] for begin in range(0, len(texts), _ENCODED_AT_ONCE)]
    return lambda: [len(encoder.encode_batch_fast(part)) for part in parts]


_CONTESTANTS: dict[str, Callable[[Path, int], Callable[[], object]]] = {
    "Reprise": reprise,
    _REFERENCE: partial(mapped, processes=1),
    "map, a process a core": lambda model, cores: mapped(model, cores, cores),
    "encoder alone": bare,
}


def write_rows(folder: Path, texts: Path | None, megabytes: float) -> None:
    """Write the rows of the three splits as stage prepare leaves them; of two there is one row alone."""
    files = [texts] if texts else sorted(contest.HOME.glob("docs/*.md"))
    lines = [line.strip() for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    mean = sum(len(line.encode()) for line in lines) / len(lines)
    (folder / project.PREPARED).mkdir(parents=True)
    for split, count in {"train": max(1, round(1e6 * megabytes / mean)), "validation": 1, "test": 1}.items():
        following, path = cycle(lines), folder / project.PREPARED / f"{split}.parquet"
        schema = pa.schema({"id": pa.string(), "text": pa.string(), "label": pa.int32()})
        with pq.ParquetWriter(path, schema) as file:
            for begin in range(0, count, _ROWS_AT_ONCE):
                of = range(begin, min(count, begin + _ROWS_AT_ONCE))
                columns = [[f"{split}#{row}" for row in of], list(islice(following, len(of))), [row % 2 for row in of]]
                file.write_table(pa.table(columns, schema=schema))
    state = {"labels": ["no", "yes"], "inputs": ["text"], "label_rows": [1, 1]}
    (folder / project.PREPARED / "task.json").write_text(json.dumps(state), encoding="utf-8")


def alone(name: str, model: Path) -> None:
    """Have one contestant encode the rows of this folder, and print how fast."""
    work = _CONTESTANTS[name](model, len(os.sched_getaffinity(0)))
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    batches = pq.ParquetFile(_ROWS, pre_buffer=False).iter_batches(columns=["text"])
    text = sum(batch.nbytes for batch in batches) / 1e6
    print(json.dumps({"seconds": seconds, "MB/s": text / seconds}))


@click.command(help=__doc__)
@click.argument("model", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--texts", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="one a line")
@click.option("--megabytes", default=50.0, show_default=True, help="of text")
@click.option("--only", type=click.Choice(list(_CONTESTANTS)), multiple=True, help="who takes part; everybody")
@click.option("--repeats", default=5, show_default=True)
@click.option("--one", hidden=True, help="what the contest runs in a process of its own, in the folder of the rows")
def main(
    model: Path, texts: Path | None, megabytes: float, only: tuple[str, ...], repeats: int, one: str | None
) -> None:
    """Run the contest and print its table."""
    if one:
        alone(one, model)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, texts, megabytes)
        variables = {"PYTHONPATH": str(contest.HOME), "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

        def command(contestant: str) -> list[str | Path]:
            return [sys.executable, "-m", "benchmarks.tokenization", "--one", contestant, model.resolve()]

        chosen = only or tuple(_CONTESTANTS)
        runs = {each: partial(contest.run, command(each), folder, variables) for each in chosen}
        found = contest.contest(runs, repeats, warm_up=repeats > 1)
    reference = _REFERENCE if _REFERENCE in found else chosen[0]
    click.echo(contest.table(found, ["MB/s", "CPU seconds", "peak MiB"], reference))
    click.echo(f"\n{contest.footing(len(os.sched_getaffinity(0)), repeats)} {megabytes:,.0f} MB of text.")


if __name__ == "__main__":
    environment.prepare()
    main()
