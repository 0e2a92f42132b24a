"""Every wrong params.yaml is told in a line or two that a beginner can act on; what is written is read back."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from pipeline import params_file
from pipeline.errors import UserError
from pipeline.params import Data, Lora, Model, Params, Tracking, Train
from tests.conftest import REPOSITORY


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("params.yaml")


def said_of(file: Path, content: str | bytes) -> str:
    """The message that the content gets."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as caught:
        params_file.read(file)
    message = str(caught.value)
    assert 1 <= len(message.splitlines()) <= 4
    assert not any(
        word in message for word in ("Input should", "value_error", "pydantic", "extra_forbidden", "<unicode")
    )
    return message


# Reading


def test_what_is_not_written_has_its_default(file: Path) -> None:
    file.write_text("train:\n  seed: 7\n")
    assert params_file.read(file) == Params(train=Train(seed=7))


@pytest.mark.parametrize("written", ["1e-4", "1e-04", "1.0e-4", "0.0001", ".0001"])
def test_a_learning_rate_may_be_written_in_any_way(file: Path, written: str) -> None:
    file.write_text(f"train:\n  learning_rate: {written}\n")
    assert params_file.read(file).train.learning_rate == 1e-4


def test_anchors_and_a_byte_order_mark_are_fine(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfdata: &same\n  split_seed: 3\ntrain: {seed: 4}\n")
    assert params_file.read(file).data.split_seed == 3


def wrong_files() -> list[tuple[str, ...]]:
    """(content, message) of each block of wrong_params.txt."""
    blocks = (Path(__file__).parent / "wrong_params.txt").read_text(encoding="utf-8").split("\n\n")
    return [tuple(block.strip("\n").rsplit("\n=> ", 1)) for block in blocks if "\n=> " in block]


@pytest.mark.parametrize(("content", "said"), wrong_files())
def test_a_wrong_file_is_told_by_line(file: Path, content: str, said: str) -> None:
    assert said_of(file, f"{content}\n") == f"params.yaml, {said}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("train:\n\tseed: 1\n", "line 2: this is no valid YAML: indent with spaces, not with a tab"),
        (
            'data:\n  train_file: "data\\raw\\w"\n',
            "line 2: this is no valid YAML: a backslash in double quotes; use single quotes",
        ),
        ("train: {}\ntask: a\x00\n", "line 2: there is a control character (#x0000)"),
        (b"train: {}\ntask: \xe9t\xe9\n", "line 2: this is not UTF-8 text. Save the file as UTF-8."),
    ],
)
def test_a_character_that_cannot_stand_there_is_told(file: Path, content: str | bytes, said: str) -> None:
    assert said_of(file, content) == f"params.yaml, {said}"


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n", "null\n"])
def test_an_empty_file_says_so(file: Path, content: str) -> None:
    assert said_of(file, content).startswith("params.yaml is empty.")


@pytest.mark.parametrize("content", ["- train\n", "train\n", "42\n"])
def test_a_file_without_sections_says_so(file: Path, content: str) -> None:
    assert said_of(file, content).startswith("params.yaml has no sections such as 'train:'")


def test_a_file_in_utf16_is_not_utf8(file: Path) -> None:
    assert "not UTF-8" in said_of(file, "train: {}\n".encode("utf-16"))


def test_a_missing_file_says_where_it_was_looked_for(file: Path) -> None:
    with pytest.raises(UserError) as caught:
        params_file.read(file)
    assert str(file.resolve().parent) in str(caught.value)
    assert "reprise init" in str(caught.value)


def test_a_folder_in_its_place_is_told(file: Path) -> None:
    file.mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        params_file.read(file)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("2026-02-30", "there is no such date (day is out of range for month). Put it in quotes if it is text."),
        ("1" * 5_000, "a number has too many digits. Put it in quotes if it is text."),
        ("0x" + "f" * 5_000, "a number has too many digits. Put it in quotes if it is text."),
        ("1:" * 3_000 + "1.0", "a number has too many digits. Put it in quotes if it is text."),
        ('"a \\ud83d"', "there is a text with half a UTF-16 pair (\\ud83d); write the character itself"),
        ("[" * 100_000, "lists or keys are nested more than 20 deep"),
        ("- " * 1_000 + "a", "lists or keys are nested more than 20 deep"),
    ],
    ids=["date", "digits", "hexadecimal", "base 60", "half a pair", "brackets", "dashes"],
)
def test_what_yaml_allows_and_python_cannot_read_is_told(file: Path, value: str, said: str) -> None:
    assert said_of(file, f"train:\n  seed: 1\ntracking:\n  run_name:\n    {value}\n") == f"params.yaml, line 5: {said}"


def test_a_long_text_in_place_of_a_number_is_told(file: Path) -> None:
    assert "must be a whole number" in said_of(file, f"train:\n  seed: '{'[' * 100_000}'\n")


def test_a_file_that_holds_itself_is_told(file: Path) -> None:
    assert "line 2" in said_of(file, "train: &a\n  seed: *a\n")


def test_three_problems_are_listed_and_the_rest_counted(file: Path) -> None:
    lines = said_of(
        file, "train:\n  seed: a\n  max_steps: b\n  eval_steps: c\n  logging_steps: d\n  lr: 1\n"
    ).splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == [
        "params.yaml, line 2",
        "params.yaml, line 3",
        "params.yaml, line 4",
    ]
    assert lines[3:] == ["... and 2 more"]
    assert "more" not in said_of(file, "train:\n  seed: a\n  max_steps: b\n  eval_steps: c\n")


def test_a_long_value_is_shortened(file: Path) -> None:
    assert len(said_of(file, f"train:\n  precision: {'x' * 5000}\n")) < 200
    assert len(said_of(file, f"data:\n  dataset_name: [{'x, ' * 500}]\n")) < 200


def test_every_foreign_spelling_leads_to_a_key_that_exists() -> None:
    typed = dict(params_file.sections())
    for foreign, here in params_file._FOREIGN.items():
        section, key = here.split(".")
        assert key in typed[section].spelled(), f"{foreign} -> {here}"


def test_a_key_that_is_not_needed_says_why(file: Path) -> None:
    said = said_of(file, "tokenizer:\n  max_answer_length: 30\n")
    assert "there is no key 'tokenizer.max_answer_length'. It is not needed: an answer is at most as long" in said


# Writing


def test_the_defaults_are_read_back(file: Path) -> None:
    file.write_text(params_file.render(Params()), encoding="utf-8")
    assert params_file.read(file) == Params()


def test_every_key_is_written_out_with_its_comment(file: Path) -> None:
    text = params_file.render(Params())
    written = yaml.safe_load(text)
    assert list(written) == list(Params.model_fields)
    for name, section in params_file.sections():
        assert list(written[name]) == list(section.spelled())
        for key, field in section.spelled().items():
            (line,) = [
                line for line in text.splitlines() if line.endswith(f"  # {field.description}") and f" {key}:" in line
            ]
            assert line.startswith(f"  {key}:")


PLAIN = ["", " ", " padded ", "it's", 'say "hi"', "a # b", "a: b", "- a", "*a", "!a", "{a}", "---", "...", "日本 é 🎉"]
OF_OTHER_TYPES = ["null", "yes", "1e-4", "07", "2026-01-02"]
WITH_BREAKS = ["two\nlines", "tab\there", "\\n", "\u2028", "\x85", "\ufeff", "\r", "\x07"]
LONG = [pytest.param("a" * 3_000, id="long"), pytest.param("a " * 1_500, id="long with blanks")]


@pytest.mark.parametrize("text", [*PLAIN, *OF_OTHER_TYPES, *WITH_BREAKS, *LONG])
def test_any_text_is_read_back(file: Path, text: str) -> None:
    params = Params(
        data=Data(
            dataset_name=None,
            train_file="a.csv",
            label_column_name=f"{text}!",
            text_column_names=[text, "other"],
            column_names=[text],
        ),
        model=Model(config={"model_type": text, "deep": {text: [text, {"deeper": text}]}, "none": {}, "empty": []}),
        tracking=Tracking(run_name=text, tags={text: text, "other": text}),
    )
    file.write_text(params_file.render(params), encoding="utf-8", newline="\n")
    assert params_file.read(file) == params


def test_a_section_within_a_section_is_read_back_and_its_wrong_key_told(file: Path) -> None:
    params = Params(model=Model(config=None, model_name_or_path="a", lora=Lora(target_modules=["query"])))
    file.write_text(params_file.render(params))
    assert params_file.read(file) == params
    said = said_of(file, "model: {config: null, model_name_or_path: a, lora: {alpha: 8}}")
    assert said.endswith("there is no key 'model.lora.alpha'. Did you mean 'model.lora.lora_alpha'?")


def test_numbers_are_read_back(file: Path) -> None:
    params = Params(
        train=Train(learning_rate=1.2345678901234567e-5, adam_epsilon=1e-12, num_train_epochs=1e7, max_steps=10**12)
    )
    file.write_text(params_file.render(params), encoding="utf-8")
    assert params_file.read(file) == params
    assert params_file.render(params_file.read(file)) == file.read_text(encoding="utf-8")


# What is checked in


def test_the_schema_is_current() -> None:
    written = (REPOSITORY / params_file.SCHEMA).read_text(encoding="utf-8")
    assert written == params_file.schema(), "run: python -m pipeline.params_file"


def test_params_yaml_has_every_key_and_comment() -> None:
    written = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    assert written == params_file.render(params_file.read(REPOSITORY / "params.yaml"))


def test_the_schema_takes_params_yaml_and_refuses_a_wrong_key() -> None:
    schema = json.loads(params_file.schema())
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(values, schema)
    values["train"]["sead"] = 1
    with pytest.raises(jsonschema.ValidationError, match="sead"):
        jsonschema.validate(values, schema)


@pytest.mark.parametrize(("value", "must"), [("0", "1 or more"), ("two", "a whole number"), ("2.5", "a whole number")])
def test_what_may_be_a_number_or_auto_is_told_in_one_line(file: Path, value: str, must: str) -> None:
    said = said_of(file, f"hardware:\n  devices: {value}\n")
    assert said.endswith(f"it must be {must}, or auto") and "\n" not in said
