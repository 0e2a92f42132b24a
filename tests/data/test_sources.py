import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data import docstrings, rows, sources
from pipeline.errors import UserError
from pipeline.params import Data
from tests.conftest import REPOSITORY

RAW = Path("data/raw")
ROWS = "text,label\nsome words,a\nother words,b\n"
CLASSES = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])})


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, in which the test runs."""
    folder = tmp_path / "project"
    (folder / RAW).mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return folder


def read(data: Data) -> dict[str, pa.Table]:
    """The rows with the columns that the params name, as a task asks for them."""
    named = dict.fromkeys(data.text_column_names or ["text"], "data.text_column_names")
    return sources.read(data, lambda names: {**named, data.label_column_name or "label": "data.label_column_name"})


def given(**values: object) -> Data:
    return Data.model_validate({"dataset_name": None, "train_file": "data/raw/train.csv", **values})


def test_the_head_of_a_parquet_file_with_fewer_rows_is_the_whole_file() -> None:
    labels = [name for name in "abc" for _ in range(1000)]
    pq.write_table(pa.table({"text": labels, "label": labels}), RAW / "train.parquet", row_group_size=1000)
    assert sources.head(given(train_file="data/raw/train.parquet"), rows=50_000)["train"]["label"].to_pylist() == labels


def error_of(data: Data) -> str:
    with pytest.raises(UserError) as caught:
        sources.head(data)
    with pytest.raises(UserError) as again:
        read(data)
    assert str(again.value) == str(caught.value)
    return str(caught.value)


def dataset(size: int = 3, labels: list[int] | None = None) -> datasets.Dataset:
    values = {"text": [f"text {row}" for row in range(size)], "label": labels or [1] * size}
    return datasets.Dataset.from_dict(values, features=CLASSES)


# Files


def test_reading_takes_the_named_columns_and_a_look_takes_all() -> None:
    (RAW / "train.csv").write_text("text,more,label\nsome words,1,a\n", encoding="utf-8")
    (RAW / "test.tsv").write_text("text\tlabel\nlast words\tb\n", encoding="utf-8")
    data = given(test_file="data/raw/test.tsv")
    found = read(data)
    assert list(found) == ["train", "test"]
    assert found["train"].to_pydict() == {"id": ["train.csv:2"], "text": ["some words"], "label": ["a"]}
    assert found["test"]["text"].to_pylist() == ["last words"]
    assert rows.source_of(found["test"]) == "data/raw/test.tsv"
    assert sources.head(data)["train"].column_names == ["id", "text", "more", "label"]


def test_a_look_needs_no_right_column_names() -> None:
    (RAW / "train.csv").write_text("sentence,kind\n" + "words,a\n" * 500, encoding="utf-8")
    assert len(sources.head(given())["train"]) == 200
    with pytest.raises(UserError, match=r"'text' is not in data/raw/train\.csv; its columns are sentence, kind"):
        read(given())


def test_a_list_of_files_is_aligned_text() -> None:
    for name in ("train.en", "train.de", "test.en", "test.de"):
        (RAW / name).write_text(f"words of {name}\n", encoding="utf-8")
    files = {split: [f"data/raw/{split}.en", f"data/raw/{split}.de"] for split in ("train", "test")}
    data = given(train_file=files["train"], test_file=files["test"])
    assert {split: table.to_pylist() for split, table in sources.head(data).items()} == {
        split: [{"id": f"{split}.en:1", "en": f"words of {split}.en", "de": f"words of {split}.de"}]
        for split in ("train", "test")
    }
    twice = given(
        train_file=files["train"],
        test_file=["data/raw/test.en", "data/raw/train.de"],
        text_column_names="en",
        label_column_name="de",
    )
    assert error_of(twice) == "data.test_file: is the same file as data.train_file: data/raw/train.de"
    assert "data.train_file: there is no data/raw/train.fr" in error_of(
        given(train_file=["data/raw/train.en", "data/raw/train.fr"])
    )


def test_the_format_and_what_a_row_is_come_from_the_params() -> None:
    (RAW / "eng.train").write_text("Ann I-PER\nran O\n", encoding="utf-8")
    found = sources.head(given(train_file="data/raw/eng.train", file_format="conll"))["train"]
    assert found.to_pylist() == [{"id": "eng.train:1", "tokens": ["Ann", "ran"], "ner_tags": ["I-PER", "O"]}]
    (RAW / "a.txt").write_text("one\ntwo\n\nthree\n", encoding="utf-8")
    assert len(sources.head(given(train_file="data/raw/a.txt", sample_by="paragraph"))["train"]) == 2


def test_a_file_cannot_be_two_splits() -> None:
    (RAW / "train.csv").write_text(ROWS, encoding="utf-8")
    assert error_of(given(test_file="data/raw/../raw/train.csv")) == (
        "data.test_file: is the same file as data.train_file: data/raw/train.csv"
    )


@pytest.mark.parametrize("name", ["other words.csv", "data/other words.csv", "data/raw/../other words.csv"])
def test_a_file_elsewhere_comes_with_the_command_that_copies_it(name: str) -> None:
    Path(name).write_text(ROWS, encoding="utf-8")
    assert error_of(given(train_file=name)) == (
        f"data.train_file: '{name}' is not below data/raw/, the folder that DVC watches. Run\n"
        f"cp '{name}' data/raw/\n"
        "and set data.train_file to data/raw/other words.csv"
    )


def test_a_folder_elsewhere_is_copied_with_its_content() -> None:
    Path("saved").mkdir()
    assert "cp -r saved data/raw/" in error_of(given(train_file="saved"))


def test_an_absolute_path_into_the_raw_folder_is_named_relative(project: Path) -> None:
    (RAW / "train.csv").write_text(ROWS, encoding="utf-8")
    assert error_of(given(train_file=f"{project}/data/raw/train.csv")).endswith("Did you mean 'data/raw/train.csv'?")
    assert error_of(given(train_file="train.csv")).endswith("Did you mean 'data/raw/train.csv'?")


def test_a_missing_file_comes_with_the_nearest_one() -> None:
    assert (
        error_of(given())
        == "data.train_file: there is no data/raw/train.csv. data/raw/ is empty: copy your file there."
    )
    (RAW / "apples.tsv").write_text(ROWS, encoding="utf-8")
    (RAW / ".gitignore").touch()
    assert error_of(given()) == "data.train_file: there is no data/raw/train.csv. data/raw/ holds apples.tsv."
    (RAW / "sub").mkdir()
    (RAW / "sub/train.csv").write_text(ROWS, encoding="utf-8")
    assert error_of(given(train_file="data/raw/sub/trian.csv")) == (
        "data.train_file: there is no data/raw/sub/trian.csv. Did you mean 'data/raw/sub/train.csv'?"
    )
    assert error_of(given(train_file="data/raw")).startswith(
        "data.train_file: name a file in data/raw/. data/raw/ holds"
    )


@pytest.mark.parametrize("pointer", ["data/raw/sub/train.csv.dvc", "data/raw/sub.dvc"])
def test_a_file_that_dvc_has_comes_with_the_command_that_fetches_it(pointer: str) -> None:
    Path(pointer).parent.mkdir(exist_ok=True)
    Path(pointer).touch()
    message = error_of(given(train_file="data/raw/sub/train.csv"))
    assert f"run dvc checkout {pointer}\n(or dvc pull {pointer}" in message


def test_a_file_that_a_temporary_copy_lacks_is_to_be_added(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (RAW / "train.csv").write_text(ROWS, encoding="utf-8")
    (tmp_path / "copy/data/raw").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(project))
    assert error_of(given()) == (
        "data.train_file: data/raw/train.csv is not in this temporary copy of the project, because git does not have "
        "it. Run\ndvc add data/raw/train.csv && git add data/raw/train.csv.dvc && git commit -m 'Add train.csv'"
    )


def test_the_advice_for_a_temporary_copy_works_as_it_is_written(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (RAW / "it's mine.csv").write_text(ROWS, encoding="utf-8")
    for name in (".gitignore", "data/raw/.gitkeep"):
        shutil.copy(REPOSITORY / name, name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull}

    def run(command: str) -> str:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("git init -q && git config user.name a && git config user.email a@b && dvc init -q && git add . ")
    run("git commit -qm first && git clone -q . ../copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(project))
    advice = error_of(given(train_file="data/raw/it's mine.csv")).split("Run\n")[1]
    monkeypatch.chdir(project)
    run(advice)
    assert "data/raw/it's mine.csv.dvc" in run("git ls-files")
    assert run("git status --porcelain") == ""


def test_a_name_that_is_not_utf8_is_told() -> None:
    name = os.fsdecode(b"data/raw/\xff.csv")
    assert error_of(given(train_file=name)).endswith(r"the file's name is not UTF-8: 'data/raw/\udcff.csv'. Rename it.")


# The `datasets` library


def test_a_saved_dataset_is_one_split() -> None:
    dataset().save_to_disk("data/raw/saved")
    dataset(2).save_to_disk("data/raw/judged")
    found = read(given(train_file="data/raw/saved", test_file="data/raw/judged"))
    assert list(found) == ["train", "test"]
    assert found["train"].to_pylist()[0] == {"id": "saved#1", "text": "text 0", "label": "good"}


def test_a_saved_dictionary_is_several_splits_and_a_file_beside_it_wins() -> None:
    saved = datasets.DatasetDict(train=dataset(), dev=dataset(2), test=dataset(1), unsupervised=dataset(1))
    saved.save_to_disk("data/raw/saved")
    (RAW / "test.csv").write_text(ROWS, encoding="utf-8")
    found = read(given(train_file="data/raw/saved"))
    assert {split: len(table) for split, table in found.items()} == {"train": 3, "validation": 2, "test": 1}
    assert found["validation"]["id"].to_pylist() == ["validation#1", "validation#2"]
    assert rows.where(found["validation"], 1) == "data/raw/saved (validation), row 2"
    found = read(given(train_file="data/raw/saved", test_file="data/raw/test.csv"))
    assert found["test"]["id"].to_pylist() == ["test.csv:2", "test.csv:3"]
    assert error_of(given(train_file="data/raw/test.csv", test_file="data/raw/saved")) == (
        "data.test_file: data/raw/saved holds several splits; name the folder of one: data/raw/saved/dev"
    )
    assert len(sources.head(given(train_file="data/raw/saved"), rows=2)["train"]) == 2


def test_a_test_split_without_labels_is_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    datasets.DatasetDict(train=dataset(), test=dataset(2, [-1, -1])).save_to_disk("data/raw/saved")
    assert list(read(given(train_file="data/raw/saved"))) == ["train"]
    assert "data/raw/saved (test): has no labels" in capsys.readouterr().err


def test_a_dictionary_without_training_rows_is_an_error() -> None:
    datasets.DatasetDict(fit=dataset(), test=dataset()).save_to_disk("data/raw/saved")
    assert error_of(given(train_file="data/raw/saved")) == (
        "data/raw/saved: has no split 'train'; its splits are fit, test"
    )


def test_a_folder_of_something_else_is_an_error() -> None:
    (RAW / "folder").mkdir()
    assert error_of(given(train_file="data/raw/folder")).startswith(
        "data.train_file: data/raw/folder is no folder saved by datasets' save_to_disk"
    )


def test_a_hub_dataset_is_loaded_as_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, config: str | None, revision: str | None) -> datasets.DatasetDict:
        asked.append((name, config, revision))
        return datasets.DatasetDict(train=dataset(), validation=dataset(2))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = read(Data(dataset_name="nyu-mll/glue", dataset_config_name="sst2", revision="abc"))
    assert asked == [("nyu-mll/glue", "sst2", "abc")]
    assert {split: len(table) for split, table in found.items()} == {"train": 3, "validation": 2}
    assert found["train"]["id"][0].as_py() == "train#1"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Couldn't reach 'a/b' on the Hub\nmore"),
        FileNotFoundError("no"),
        ValueError("no config"),
        datasets.exceptions.DatasetGenerationError("An error occurred while generating the dataset"),
    ],
)
def test_what_the_hub_answers_is_told_in_its_first_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load_dataset(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    message = error_of(Data(dataset_name="a/b"))
    assert message == (
        f"data.dataset_name: cannot load 'a/b' from the hub: {str(error).splitlines()[0]}\n"
        "Without a network, put its files below data/raw/, and name them in data.train_file."
    )


def test_a_mistyped_or_misplaced_name_does_not_reach_the_hub() -> None:
    assert error_of(Data(dataset_name="docstring")) == (
        "data.dataset_name: there is no dataset 'docstring'. Did you mean 'docstrings'?"
    )
    (RAW / "train.csv").write_text(ROWS, encoding="utf-8")
    assert "set train_file to it" in error_of(Data(dataset_name="data/raw/train.csv"))


def test_the_embedded_corpus_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def corpus(view: str | None, limit: int | None) -> pa.Table:
        asked.append((view, limit))
        return pa.table({"id": ["torch/a.py:1"], "text": ["words"], "label": ["torch"]})

    monkeypatch.setattr(docstrings, "table", corpus)
    assert list(read(Data())) == ["train"]
    sources.head(Data(dataset_config_name="text"), rows=50)
    assert asked == [(None, None), ("text", 50)]
