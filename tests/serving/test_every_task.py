"""What every task promises those who ask its model, in files, from a registry and from a server; none is named here."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoTokenizer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import scoring_server

from pipeline import project
from pipeline.errors import UserError
from pipeline.model.build import build
from pipeline.model.export import export
from pipeline.params import Evaluate
from pipeline.serving import asking, batch, package
from pipeline.serving.predictor import Predictor
from pipeline.tasks import find
from tests.tasks.cases import CASES, Case, make

ROWS = 6
SHORT = Evaluate(max_new_tokens=4)
# One case of every task; the others differ in what the loop sees.
FIRST = list({case.task: case for case in reversed(CASES)}.values())[::-1]
OURS = [case for case in FIRST if "." not in case.task]
LISTS = [case for case in OURS if any(isinstance(value, list) for value in find(case.task)().example().values())]


@pytest.fixture(scope="module", params=FIRST, ids=str)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """A case, and a model of it with random weights, as the train stage exports it."""
    case: Case = request.param
    folder = tmp_path_factory.mktemp("asked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(case, folder)
        params = case.whole_params()
        task = find(case.task).load(project.PREPARED)
        tokenizer = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
        torch.manual_seed(3)
        export(build(params, task, tokenizer), tokenizer, task, params, folder / "best")
    return case, folder / "best"


@pytest.fixture(scope="module")
def predictor(exported: tuple[Case, Path]) -> Predictor:
    case, model = exported
    return Predictor.load(model, case.whole_params().hardware, SHORT)


@pytest.fixture(scope="module")
def asked(exported: tuple[Case, Path], predictor: Predictor) -> list[dict[str, Any]]:
    """Rows as somebody asks them: prepared test rows without their targets."""
    prepared = pq.read_table(exported[1].parent / project.PREPARED / "test.parquet")
    rows: list[dict[str, Any]] = prepared.select(predictor.card.columns).slice(0, ROWS).to_pylist()
    return rows


def test_the_example_is_answered(predictor: Predictor) -> None:
    example = predictor.task.example()
    assert tuple(example) == predictor.card.columns
    (answer,) = predictor.ask([asking.of_example(example)])
    assert answer
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer, "an answer is JSON"


def test_prepared_rows_are_scored_again_as_a_champion_is(exported: tuple[Case, Path], predictor: Predictor) -> None:
    prepared = pq.read_table(exported[1].parent / project.PREPARED / "test.parquet").slice(0, ROWS)
    if predictor.task.needs_reference:
        with pytest.raises(UserError, match="cannot be scored on others"):
            predictor.judged(prepared, predictor.task.labels)
        return
    task, found = predictor.judged(prepared, predictor.task.labels)
    scores = task.scores(found)
    assert set(scores) == {*task.score_names, "loss"}
    assert all(map(math.isfinite, scores.values()))


def read(path: Path) -> Any:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        return pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        cells = [
            {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
            for row in rows
        ]
        pd.DataFrame(cells).to_csv(path, index=False)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_a_file_is_answered_in_every_format(
    exported: tuple[Case, Path], predictor: Predictor, asked: list[dict[str, Any]], tmp_path: Path, kind: str
) -> None:
    rows = [{"note": f"row {place}", **row} for place, row in enumerate(asked)]
    source, output = written(tmp_path / f"in.{kind}", rows), tmp_path / f"out.{kind}"
    assert batch.predict(predictor, exported[1], source, output, chunk=4) == batch.Done(ROWS, 0, 0)
    found = read(output)
    assert [row["note"] for row in found] == [row["note"] for row in rows]
    for row, answer in zip(found, predictor.ask(asked), strict=True):
        for name, value in answer.items():
            there = row[name if name not in rows[0] else f"predicted_{name}"]
            assert alike(there, value), name


def alike(there: Any, value: Any) -> bool:
    """Whether a cell holds a part of an answer, as a text of JSON where its format has no other way.

    Rows that are padded otherwise differ in the last digits.
    """
    if isinstance(there, str) and not isinstance(value, str):
        there = json.loads(there)
    if isinstance(value, list):
        return len(there) == len(value) and all(map(alike, there, value))
    if isinstance(value, dict):
        return set(there) == set(value) and all(alike(there[name], part) for name, part in value.items())
    return math.isclose(there, value, rel_tol=1e-4, abs_tol=1e-5) if isinstance(value, float) else bool(there == value)


def test_columns_of_other_names_are_taken_in_their_order(
    exported: tuple[Case, Path], predictor: Predictor, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    names = [f"{name}s" for name in predictor.card.columns]
    rows = [dict(zip(names, row.values(), strict=True)) for row in asked[:1]]
    source = written(tmp_path / "in.jsonl", rows)
    batch.predict(predictor, exported[1], source, tmp_path / "out.jsonl", columns=names)
    (found,), (answer,) = read(tmp_path / "out.jsonl"), predictor.ask(asked[:1])
    assert all(alike(found[name], value) for name, value in answer.items())
    with pytest.raises(UserError, match=rf"there is no column .* Did you mean '{next(iter(predictor.card.columns))}s'"):
        batch.predict(predictor, exported[1], source, tmp_path / "out.jsonl")


def test_what_is_empty_is_not_answered_and_what_is_wrong_is_told(
    exported: tuple[Case, Path], predictor: Predictor, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    first = next(iter(predictor.card.columns))
    source = written(tmp_path / "in.jsonl", [asked[0], asked[1] | {first: ""}, asked[1] | {first: None}])
    output = tmp_path / "out.jsonl"
    assert batch.predict(predictor, exported[1], source, output).unanswered == 2
    filled = [
        {name for name, value in row.items() if name not in asked[0] and value is not None} for row in read(output)
    ]
    assert filled[0] and filled[1:] == [set(), set()]
    written(source, [asked[0], asked[1] | {first: 7}])
    with pytest.raises(UserError, match=rf"row 2: the column '{first}' holds 7"):
        batch.predict(predictor, exported[1], source, output)


# A version of a registry


def marked(case: Case) -> Any:
    """The case of a registered version: the default run has the first of those that read lists."""
    return pytest.param(case, id=str(case), marks=[] if case is LISTS[0] else [pytest.mark.wide])


@pytest.mark.parametrize("exported", [marked(case) for case in FIRST], indirect=True)
def test_a_registered_version_answers_as_the_model_does(
    exported: tuple[Case, Path], predictor: Predictor, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    package.write(exported[1], tmp_path / "packed", None, {}, SHORT)
    model = mlflow.pyfunc.load_model(str(tmp_path / "packed"))
    example = predictor.task.example()
    assert json.loads(model.input_example.to_json(orient="records")) == [example]
    (answer,) = predictor.ask([asking.of_example(example)])
    (found,) = model.predict(model.input_example).to_dict("records")
    assert all(alike(found[name], value) for name, value in answer.items())
    assert [column.name for column in model.metadata.signature.outputs] == list(answer)

    def served(rows: list[dict[str, Any]]) -> Any:
        body = json.dumps({"dataframe_records": rows})
        said = scoring_server.invocations(body, "application/json", model, model.metadata.get_input_schema())
        return json.loads(said.response)["predictions"]

    assert all(alike(served([example, example])[1][name], value) for name, value in answer.items())
    first = next(iter(example))
    for wrong in ({}, example | {first: None}, example | {first: [] if isinstance(example[first], list) else ""}):
        with pytest.raises(MlflowException) as caught:
            served([wrong])
        assert caught.value.get_http_status_code() == 400
