import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import digest, project
from pipeline.errors import UserError
from pipeline.params import Data, Evaluate, Params
from stages.prepare import prepare


@pytest.fixture
def params(folder: Path) -> Params:
    """Two hundred rows of two labels without a validation file, and a test file that has one of them."""
    project.RAW.mkdir(parents=True)
    rows = "".join(f"some words {row},{'ab'[row % 2]}\n" for row in range(200))
    (project.RAW / "train.csv").write_text(f"text,label\nLeaked  words,a\n{rows}", encoding="utf-8")
    (project.RAW / "test.csv").write_text("text,label\nleaked words,a\nother words,b\n", encoding="utf-8")
    return Params(data=Data(dataset_name=None, train_file="data/raw/train.csv", test_file="data/raw/test.csv"))


def test_it_writes_splits_labels_and_audit(params: Params) -> None:
    prepare(params)
    splits = {split: pq.read_table(project.PREPARED / f"{split}.parquet") for split in project.SPLITS}
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 180, "validation": 20, "test": 2}
    for rows in splits.values():
        assert rows.schema == pa.schema([("id", pa.string()), ("text", pa.string()), ("label", pa.int32())])
    assert splits["test"].to_pylist()[0] == {"id": "test.csv:2", "text": "leaked words", "label": 0}
    state = json.loads((project.PREPARED / "task.json").read_text(encoding="utf-8"))
    assert (state["labels"], state["inputs"]) == (["a", "b"], ["text"])
    audit = json.loads((project.PREPARED / "audit.json").read_text(encoding="utf-8"))
    assert audit["splits"]["train"]["removed"] == 1


def test_it_writes_the_same_bytes_again(params: Params) -> None:
    prepare(params)
    first = digest.of_folder(project.PREPARED)
    prepare(params)
    assert digest.of_folder(project.PREPARED) == first


def test_leaked_rows_stay_if_that_is_asked_for(params: Params) -> None:
    prepare(params.model_copy(update={"data": params.data.model_copy(update={"decontaminate_train": False})}))
    assert len(pq.read_table(project.PREPARED / "train.parquet")) == 181


def test_raw_columns_for_slices_stand_beside_the_prepared_rows_and_do_not_change_them(params: Params) -> None:
    rows = "".join(f"some words {row},{'ab'[row % 2]},{row % 3}\n" for row in range(200))
    (project.RAW / "train.csv").write_text(f"text,label,source\n{rows}", encoding="utf-8")
    (project.RAW / "test.csv").write_text("text,label,source\nother words,b,web\n", encoding="utf-8")
    prepare(params)
    first = digest.of_folder(project.PREPARED)
    assert pq.read_table(project.SLICES / "test.parquet").to_pydict() == {"id": ["test.csv:2"]}
    prepare(params.model_copy(update={"evaluate": Evaluate(slices=["source", "label"])}))
    assert digest.of_folder(project.PREPARED) == first
    assert pq.read_table(project.SLICES / "test.parquet").to_pydict() == {"id": ["test.csv:2"], "source": ["web"]}
    found, prepared = (pq.read_table(folder / "validation.parquet") for folder in (project.SLICES, project.PREPARED))
    assert found["id"].equals(prepared["id"])
    assert set(found["source"].to_pylist()) == {"0", "1", "2"}
    assert not (project.SLICES / "train.parquet").exists()


def test_a_wrong_row_leaves_nothing_half_written(params: Params) -> None:
    with (project.RAW / "train.csv").open("a", encoding="utf-8") as file:
        file.write("one,two,three\n")
    with pytest.raises(UserError, match=r"data/raw/train\.csv, line 203: 3 fields"):
        prepare(params)
    assert not project.PREPARED.exists()
