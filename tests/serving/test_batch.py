"""Answers to files: the same in every format, in the order of the rows, and the same after a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.params import Hardware
from pipeline.serving import batch
from pipeline.serving.batch import Done, predict
from pipeline.serving.predictor import Predictor
from tests.conftest import REPOSITORY, texts_and_labels
from tests.serving.exported import asked, export_tiny_model

CPU = Hardware(use_cpu=True)
TEXTS = texts_and_labels(50, seed=9, labels=3)[0]
CHUNK = 16


@pytest.fixture(scope="module")
def predictor(model: Path) -> Predictor:
    return Predictor.load(model, CPU)


@pytest.fixture(scope="module")
def answers(predictor: Predictor) -> list[tuple[str, float]]:
    return [(str(found["label"]), float(found["probability"])) for found in predictor.answer(asked(TEXTS))]


def written(path: Path, texts: list[str] = TEXTS) -> Path:
    """A file of the format that its name says, with a number, a text and a note that is hard to quote in each row."""
    notes = [f'he said "{number}",\tand left' for number in range(len(texts))]
    rows = [{"id": number, "text": text, "note": notes[number]} for number, text in enumerate(texts)]
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=20)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".tsv":
            lines = (f"{row['id']}\t{row['text']}\t{row['note']}".replace(",\t", ", ") for row in rows)
            path.write_text("\n".join(["id\ttext\tnote", *lines]) + "\n")
        case _:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, ["id", "text", "note"])
                writer.writeheader()
                writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, object]]:
    match path.suffix:
        case ".parquet":
            return pq.read_table(path).to_pylist()
        case ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
        case ".tsv":
            header, *lines = (line.split("\t") for line in path.read_text().splitlines())
            return [dict(zip(header, line, strict=True)) for line in lines]
        case _:
            with path.open(newline="") as file:
                return list(csv.DictReader(file))


@pytest.mark.parametrize("out", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("into", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_becomes_every_other_in_the_order_of_the_rows(
    predictor: Predictor, model: Path, answers: list[tuple[str, float]], tmp_path: Path, into: str, out: str
) -> None:
    source, output = written(tmp_path / f"in.{into}"), tmp_path / f"out.{out}"
    assert predict(predictor, model, source, output, chunk=CHUNK) == Done(50, 0, 0)
    rows = read(output)
    assert [str(row["id"]) for row in rows] == [str(number) for number in range(50)]
    assert [row["text"] for row in rows] == TEXTS
    for row, (label, probability) in zip(rows, answers, strict=True):
        assert row["label"] == label
        assert float(str(row["probability"])) == pytest.approx(probability, abs=1e-5)
    if "tsv" not in (into, out):
        assert [row["note"] for row in rows] == [row["note"] for row in read(source)]
    assert list(tmp_path.iterdir()) in ([source, output], [output, source]), "nothing else is left"


def test_numbers_stay_numbers_where_the_format_has_them(predictor: Predictor, model: Path, tmp_path: Path) -> None:
    predict(predictor, model, written(tmp_path / "in.parquet"), tmp_path / "out.parquet")
    types = dict(
        zip(*(lambda found: (found.names, found.types))(pq.read_schema(tmp_path / "out.parquet")), strict=True)
    )
    assert (types["id"], types["label"], types["probability"]) == (pa.int64(), pa.string(), pa.float64())


def test_a_column_that_is_there_already_keeps_its_name(predictor: Predictor, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("label,text\nmine,good\n")
    predict(predictor, model, tmp_path / "in.csv", tmp_path / "out.csv")
    (row,) = read(tmp_path / "out.csv")
    assert list(row) == ["label", "text", "predicted_label", "probability"]
    assert row["label"] == "mine"


@pytest.mark.parametrize("out", ["csv", "jsonl", "parquet"])
def test_what_only_a_later_row_has_is_neither_lost_nor_overwritten(
    predictor: Predictor, model: Path, tmp_path: Path, out: str
) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "good"}\n{"text": "bad", "label": "mine", "note": "kept"}\n')
    predict(predictor, model, tmp_path / "in.jsonl", tmp_path / f"out.{out}")
    first, second = read(tmp_path / f"out.{out}")
    assert (second["label"], second["note"]) == ("mine", "kept")
    assert first["predicted_label"] and second["predicted_label"]
    assert not first.get("note")


def test_an_empty_text_gets_no_answer_and_is_counted(predictor: Predictor, model: Path, tmp_path: Path) -> None:
    source = written(tmp_path / "in.csv", ["good", " ", "bad", ""])
    assert predict(predictor, model, source, tmp_path / "out.csv", chunk=3).unanswered == 2
    assert [bool(row["label"]) for row in read(tmp_path / "out.csv")] == [True, False, True, False]


def test_pairs_and_other_names_of_columns(tmp_path: Path) -> None:
    double = export_tiny_model(tmp_path / "pairs", text_columns=2)
    predictor = Predictor.load(double, CPU)
    (tmp_path / "in.csv").write_text("q,a\ngood,bad\n")
    predict(predictor, double, tmp_path / "in.csv", tmp_path / "out.csv", columns=["q", "a"])
    (expected,) = predictor.answer(asked(["good"], ["bad"]))
    assert read(tmp_path / "out.csv")[0]["label"] == expected["label"]
    with pytest.raises(UserError, match="reads text, text_pair: name 2 columns, in that order, not 1"):
        predict(predictor, double, tmp_path / "in.csv", tmp_path / "out.csv", columns=["q"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("in.csv", "texts\ngood\n", r"no column 'text'; there are texts. Did you mean 'texts'\?\n.*--column"),
        ("in.csv", "", r"in.csv: is empty"),
        ("in.csv", "text\n", r"has no row"),
        ("in.csv", 'text,b\ngood,"a\n', r"line 2: a quote opens"),
        ("in.csv", "text,b\ngood\n", r"line 2: 1 field, where the header has 2"),
        ("in.jsonl", '{"text": "good"}\n{"text": 7}\n', r"row 2: the column 'text' holds 7, which is no text"),
        ("in.jsonl", '{"text": "good"}\n[]\n', r"line 2: is no object"),
        ("in.jsonl", '{"text": "good"}\n{"tex\n', r"line 2: is no JSON"),
        ("in.parquet", "PAR", r"cannot be read as Parquet"),
        ("in.xlsx", "", r"the name must end in .csv, .tsv, .jsonl or .parquet"),
    ],
)
def test_what_is_wrong_is_told_before_the_work(
    predictor: Predictor, model: Path, tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said):
        predict(predictor, model, tmp_path / name, tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_input_is_not_overwritten(predictor: Predictor, model: Path, tmp_path: Path) -> None:
    source = written(tmp_path / "in.csv")
    with pytest.raises(UserError, match="is the input"):
        predict(predictor, model, source, source)


def test_a_missing_file_or_a_wrong_output_is_told(predictor: Predictor, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        predict(predictor, model, tmp_path / "no.csv", tmp_path / "out.csv")
    with pytest.raises(UserError, match=r"out.txt: the name must end in"):
        predict(predictor, model, written(tmp_path / "in.csv"), tmp_path / "out.txt")


# Resuming

WORKER = """
import sys, time
from pathlib import Path
from pipeline.params import Hardware
from pipeline.serving import batch
from pipeline.serving.predictor import Predictor
model, source, output = map(Path, sys.argv[1:])
slow = batch._answered
batch._answered = lambda *given: (time.sleep(0.15), slow(*given))[1]
batch.predict(Predictor.load(model, Hardware(use_cpu=True)), model, source, output, chunk=16)
"""


@pytest.mark.parametrize("out", ["csv", "parquet"])
def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(
    predictor: Predictor, model: Path, tmp_path: Path, out: str
) -> None:
    texts = texts_and_labels(400, seed=4, labels=3)[0]
    source, output = written(tmp_path / "in.csv", texts), tmp_path / f"out.{out}"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", WORKER, model, source, output], env=environment) as worker:
        parts = tmp_path / f"out.{out}.parts"
        while len(list(parts.glob("[0-9]*"))) < 5:
            assert worker.poll() is None
            time.sleep(0.01)
        worker.send_signal(signal.SIGKILL)
    assert not output.exists(), "there is no half output"
    done = predict(predictor, model, source, output, chunk=CHUNK)
    assert 5 * CHUNK <= done.resumed < 400
    assert not parts.exists()
    whole = tmp_path / f"whole.{out}"
    assert predict(predictor, model, source, whole, chunk=CHUNK) == Done(400, 0, 0)
    assert output.read_bytes() == whole.read_bytes()


def stopped(predictor: Predictor, model: Path, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that ends after two chunks."""
    made, real = [], batch._answered

    def once(*given: object) -> object:
        made.append(1)
        if len(made) > 2:
            raise KeyboardInterrupt
        return real(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(batch, "_answered", once)
        with pytest.raises(KeyboardInterrupt):
            predict(predictor, model, source, output, chunk=CHUNK)


def test_what_is_done_of_another_input_or_model_is_of_no_use(
    predictor: Predictor, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = written(tmp_path / "in.csv"), tmp_path / "out.csv"
    stopped(predictor, model, source, output, monkeypatch)
    assert predict(predictor, model, source, output, chunk=CHUNK).resumed == 2 * CHUNK
    stopped(predictor, model, source, output, monkeypatch)
    written(source, TEXTS[::-1])
    assert predict(predictor, model, source, output, chunk=CHUNK).resumed == 0
    assert [row["text"] for row in read(output)] == TEXTS[::-1]
    stopped(predictor, model, source, output, monkeypatch)
    other = export_tiny_model(tmp_path / "pair", text_columns=1)
    (other / "note.txt").write_text("another model")
    assert predict(predictor, other, source, output, chunk=CHUNK).resumed == 0


def test_a_chunk_that_is_missing_is_made_again(
    predictor: Predictor, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = written(tmp_path / "in.csv"), tmp_path / "out.csv"
    stopped(predictor, model, source, output, monkeypatch)
    (tmp_path / "out.csv.parts/00000000.csv").unlink()
    assert predict(predictor, model, source, output, chunk=CHUNK).resumed == 0
    assert [row["text"] for row in read(output)] == TEXTS
