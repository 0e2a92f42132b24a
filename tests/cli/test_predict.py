import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from pipeline import project
from pipeline.cli import predict as predict_command
from pipeline.cli.predict import command
from pipeline.errors import UserError
from pipeline.params import Hardware
from tests.conftest import REPOSITORY
from tests.serving.exported import LABELS, export_tiny_model

Predict = Callable[..., Result]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    export_tiny_model(folder / "single")
    export_tiny_model(folder / "double", text_columns=2)
    return folder


@pytest.fixture
def predict(folder: Path, models: Path) -> Predict:
    """The command in a project whose models/best is a model of single texts, or the one of pairs."""
    (folder / "models").mkdir()

    def run(*arguments: str, model: str = "single", stdin: str | bytes | None = None) -> Result:
        project.BEST_MODEL.unlink(missing_ok=True)
        project.BEST_MODEL.symlink_to(models / model)
        return CliRunner().invoke(command, arguments, input=stdin)

    return run


def lines(result: Result) -> list[list[str]]:
    """The fields of the lines that it printed."""
    assert result.exception is None, result.exception
    return [line.split("\t") for line in result.stdout.splitlines()]


def message(result: Result) -> str:
    """What the user is told; an error of another kind is none for users."""
    if isinstance(result.exception, UserError):
        return str(result.exception)
    assert result.exit_code == 2, result.exception
    return result.output


def test_prints_label_probability_and_text(predict: Predict):
    first, second = lines(predict("--text", "a good\tand fine\nday", "--text", "sad"))
    assert first[0] in LABELS
    assert 1 / len(LABELS) <= float(first[1]) <= 1
    assert [first[2:], second[2:]] == [["a good and fine day"], ["sad"]]


def test_reads_standard_input_line_by_line(predict: Predict):
    given = "good\nbad, é\r\n" + "calm even day\n" * 600 + "\n \n"
    piped = lines(predict(stdin=given))
    assert [line[2] for line in piped] == ["good", "bad, é", *["calm even day"] * 600]
    assert piped == lines(predict("--text", "-", stdin=given))
    assert piped[0] == lines(predict("--text", "good"))[0]


def test_pairs(predict: Predict):
    asked = ("--text", "good", "--text-pair", "bad", "--text", "sad", "--text-pair", "fine")
    both = lines(predict(*asked, model="double"))
    assert [line[2:] for line in both] == [["good", "bad"], ["sad", "fine"]]
    assert both == lines(predict(model="double", stdin="good\tbad\nsad\tfine\n"))


def test_another_model_is_found_from_where_the_user_stands(predict: Predict, models: Path):
    here = lines(predict("--text", "good"))
    assert here == lines(predict("--text", "good", "--model", os.path.relpath(models / "single")))
    assert "models/none" in message(predict("--text", "good", "--model", "models/none"))


def test_on_a_terminal_a_table_shows_texts_as_they_are(capsys: pytest.CaptureFixture[str]):
    answers = [(("[bold]:smile: a", "b"), {"label": "[red]", "probability": 0.98765})]
    predict_command._show_table(answers)
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["label", "probability", "text", "text", "pair"]
    assert row.split() == ["[red]", "0.9877", "[bold]:smile:", "a", "b"]


def test_a_small_number_keeps_the_digits_that_tell(capsys: pytest.CaptureFixture[str]):
    predict_command._show_lines([(("text",), {"score": 0.00041237})])
    predict_command._show_lines([(("text",), {"probability": 0.00041237})])
    assert capsys.readouterr().out == "0.000412\ttext\n0.000412\ttext\n"


def test_what_no_word_or_number_is_comes_as_json_on_one_line(capsys: pytest.CaptureFixture[str]):
    answer = {"entities": [{"type": "PER", "start": 0, "probability": 0.123456}], "text": "two\nlines", "place": 2}
    predict_command._show_lines([(("Ada was here.",), answer)])
    printed = capsys.readouterr().out
    assert printed == '[{"type": "PER", "start": 0, "probability": 0.1235}]\ttwo lines\t2\tAda was here.\n'
    predict_command._show_table([(("Ada was here.",), {"labels": ["a", "b"]})])
    assert '["a", "b"]' in capsys.readouterr().out


def test_a_model_of_more_than_two_columns_is_asked_by_a_file(predict: Predict, models: Path):
    if not (models / "choice").exists():
        shutil.copytree(models / "single", models / "choice")
    card = json.loads((models / "choice" / project.MODEL_CARD).read_text())
    card["state"]["inputs"] = ["sent1", "sent2", "ending0", "ending1"]
    (models / "choice" / project.MODEL_CARD).write_text(json.dumps(card))
    told = message(predict("--text", "a", model="choice"))
    assert "reads sent1, sent2, ending0, ending1" in told
    assert "--input rows.jsonl" in told


@pytest.mark.parametrize(
    ("arguments", "model", "stdin", "told"),
    [
        (["--text", "a", "--text-pair", "b"], "single", None, "single texts: leave --text-pair out"),
        (["--text", "a"], "double", None, r"a --text-pair for every --text \(there are 1 and 0\)"),
        (["--text", "a", "--text-pair", "b", "--text-pair", "c"], "double", None, r"there are 1 and 2"),
        (["--text-pair", "b"], "double", "a\n", "--text-pair goes with --text"),
        (["--text", "-", "--text", "b"], "single", "a\n", "no other --text beside it"),
        ([], "double", "a\tb\nonly one\n", r"line 2.*text<TAB>text; this one has 1 field\."),
        ([], "double", "a\tb\tc\n", r"line 1.*this one has 3 fields\."),
        ([], "single", b"good\nb\xe4d\n", "line 2, is not UTF-8"),
        ([], "single", "", "no text on standard input"),
        ([], "single", "\n\n", "no text on standard input"),
        ([], "single", "good\n\n\nbad\n", "line 2, is empty"),
        ([], "double", "good\tbad\n\t\ngood\tbad\n", "line 2, is empty"),
        ([], "double", "good\tbad\ngood\t\n", "line 2: one of its two texts is empty"),
        (["--text", "good", "--text", ""], "single", None, "--text '' is empty"),
        (["--text", "a", "--text-pair", " "], "double", None, "--text-pair ' ' is empty"),
        (["--text", "b\udce4d"], "single", None, r"--text 'b\\udce4d' is not UTF-8"),
    ],
)
def test_wrong_questions(predict: Predict, arguments: list[str], model: str, stdin: str | bytes | None, told: str):
    result = predict(*arguments, model=model, stdin=stdin)
    assert re.search(told, " ".join(message(result).split()))


@pytest.mark.parametrize(
    ("params", "threads"), [("hardware: {num_threads: 1}", 1), ("hardware: {", Hardware().num_threads)]
)
def test_computes_as_the_project_does_even_with_broken_params(predict: Predict, params: str, threads: int):
    project.PARAMS.write_text(params)
    lines(predict("--text", "good"))
    assert torch.get_num_threads() == threads


def test_no_model_yet(folder: Path):
    result = CliRunner().invoke(command, ["--text", "a"])
    assert isinstance(result.exception, UserError)
    assert "dvc repro" in str(result.exception)


def test_help_and_early_errors_wait_for_no_torch(tmp_path: Path):
    program = (
        "import sys\nfrom pipeline.cli.predict import command\nfrom click.testing import CliRunner\n"
        "told = CliRunner().invoke(command, ['--help']).output\nassert '--text-pair' in told, told\n"
        "assert 'dvc repro' in str(CliRunner().invoke(command, ['--text', 'a']).exception)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)
