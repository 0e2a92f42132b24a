"""Every wrong params.yaml is told in a line or two that a beginner can act on; what is written is read back."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from pipeline import params_file
from pipeline.errors import UserError
from pipeline.params import Data, Model, Params, Tracking, Train
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
    assert not any(word in message for word in ("Input should", "value_error", "pydantic", "extra_forbidden", "<unicode"))
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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        # A key that is not there
        ("\ntrian:\n  seed: 1\n", "line 2: there is no key 'trian'. Did you mean 'train'?"),
        ("train:\n  seed: 1\n  sead: 1\n", "line 3: there is no key 'train.sead'. Did you mean 'train.seed'?"),
        ("train:\n  lr: 1\n", "line 2: there is no key 'train.lr'. Did you mean 'train.learning_rate'?"),
        ("train:\n  batch_size: 1\n", "line 2: there is no key 'train.batch_size'. Did you mean 'train.global_batch_size'?"),
        ("train:\n  epochs: 1\n", "line 2: there is no key 'train.epochs'. Did you mean 'train.num_train_epochs'?"),
        ("train:\n  warmup_ratio: 1\n", "line 2: there is no key 'train.warmup_ratio'. Did you mean 'train.warmup_steps'?"),
        ("tokenizer: {max_length: 9}\n", "line 1: there is no key 'tokenizer.max_length'. Did you mean 'tokenizer.max_seq_length'?"),
        ("train:\n  num_threads: 4\n", "line 2: there is no key 'train.num_threads'. Did you mean 'hardware.num_threads'?"),
        ("learning_rate: 1\n", "line 1: there is no key 'learning_rate'. Did you mean 'train.learning_rate'?"),
        ("lr: 1\n", "line 1: there is no key 'lr'. Did you mean 'train.learning_rate'?"),
        ("promotion:\n  zzz: 1\n", "line 2: there is no key 'promotion.zzz'."),
        (
            "zzz: 1\n",
            "line 1: there is no key 'zzz'. The file has version, task, data, tokenizer, model, train, evaluate, "
            "hardware, tracking, promotion.",
        ),
        ("1: 2\n", "line 1: there is no key '1'. The file has version, task, data, tokenizer, model, train, evaluate, "
            "hardware, tracking, promotion."),
        # A value of another type
        ("train:\n  seed: abc\n", "line 2: train.seed is 'abc'; it must be a whole number"),
        ("train:\n  seed: 1.5\n", "line 2: train.seed is 1.5; it must be a whole number"),
        ("train:\n  seed: '5'\n", "line 2: train.seed is '5'; it must be a whole number, without quotes"),
        ("train:\n  seed: yes\n", "line 2: train.seed is true; it must be a whole number"),
        ("train:\n  seed:\n", "line 2: train.seed is null; it must be a whole number"),
        ("train:\n  learning_rate: fast\n", "line 2: train.learning_rate is 'fast'; it must be a number"),
        ("train:\n  learning_rate: .inf\n", "line 2: train.learning_rate is .inf; it must be a finite number"),
        ("tokenizer:\n  do_lower_case: 1\n", "line 2: tokenizer.do_lower_case is 1; it must be true or false"),
        ("tokenizer:\n  do_lower_case: 'true'\n", "line 2: tokenizer.do_lower_case is 'true'; it must be true or false, without quotes"),
        ("data:\n  label_column_name: 3\n", "line 2: data.label_column_name is 3; it must be text; put it in quotes"),
        ("data:\n  label_column_name: 2026-01-02\n", "line 2: data.label_column_name is 2026-01-02; it must be text; put it in quotes"),
        ("data:\n  dataset_name: {a: 1}\n", "line 2: data.dataset_name is {a: 1}; it must be text"),
        ("data:\n  text_column_names: 3\n", "line 2: data.text_column_names is 3; it must be a list, such as [first, second]"),
        ("data:\n  text_column_names: [a, 2]\n", "line 2: data.text_column_names, item 2, is 2; it must be text; put it in quotes"),
        ("tracking:\n  tags: [a]\n", "line 2: tracking.tags is [a]; it must be a mapping: indented lines of 'key: value'"),
        ("tracking:\n  tags:\n    a: 1\n", "line 3: tracking.tags.a is 1; it must be text; put it in quotes"),
        ("tracking:\n  tags:\n    1: a\n", "line 3: the key 1 must be text; put it in quotes"),
        ("train: [1]\n", "line 1: train is [1]; it must be a section: its keys stand on indented lines below it"),
        ("train:\ndata: {}\n", "line 1: train is null; it must be a section: its keys stand on indented lines below it"),
        # A value out of range
        ("train:\n  learning_rate: -1\n", "line 2: train.learning_rate is -1; it must be greater than 0"),
        ("train:\n  global_batch_size: 0\n", "line 2: train.global_batch_size is 0; it must be 1 or more"),
        ("train:\n  label_smoothing_factor: 1\n", "line 2: train.label_smoothing_factor is 1; it must be less than 1"),
        ("data:\n  test_split_percentage: 60\n", "line 2: data.test_split_percentage is 60; it must be 50 or less"),
        ("train:\n  seed: 99999999999999999999\n", "line 2: train.seed is 99999999999999999999; it must be 4294967295 or less"),
        ("data:\n  text_column_names: []\n", "line 2: data.text_column_names is []; it must be a list of at least 1"),
        ("data:\n  text_column_names: [a, b, c]\n", "line 2: data.text_column_names is [a, b, c]; it must be a list of at most 2"),
        ("tracking:\n  experiment_name: ''\n", "line 2: tracking.experiment_name is ''; it must be a text that is not empty"),
        ("train:\n  precision: fp8\n", "line 2: train.precision is 'fp8'; it can be 'fp32', 'bf16' or 'fp16'."),
        (
            "train:\n  lr_scheduler_type: linaer\n",
            "line 2: train.lr_scheduler_type is 'linaer'; it can be 'linear', 'cosine' or 'constant'. Did you mean 'linear'?",
        ),
        ("version: 2\n", "line 1: version is 2; it can be 1."),
        ("version: '1'\n", "line 1: version is '1'; it can be 1, without quotes"),
        # Values that contradict each other
        ("data:\n  train_file: data/raw/a.csv\n", "line 1: data: set either dataset_name or train_file, and the other to null"),
        ("model:\n  config: {}\n", "line 1: model: config needs a model_type, such as bert or modernbert"),
        # No YAML
        ("train:\n  seed: 1\n  seed: 2\n", "line 3: this is no valid YAML: the key 'seed' stands twice, first in line 2"),
        ("train: {}\ndata: {}\ntrain: {}\n", "line 3: this is no valid YAML: the key 'train' stands twice, first in line 1"),
        ("model:\n  config: {model_type: a, b: 1, b: 2}\n", "line 2: this is no valid YAML: the key 'b' stands twice, first in line 2"),
        ("train:\n\tseed: 1\n", "line 2: this is no valid YAML: indent with spaces, not with a tab"),
        ("train:\n  seed: 1\n   max_steps: 2\n", "line 3: this is no valid YAML: a wrong indentation, or a text with a colon that needs quotes"),
        ("tracking:\n  run_name: a: b\n", "line 2: this is no valid YAML: a wrong indentation, or a text with a colon that needs quotes"),
        ("data:\n  text_column_names: [a\n  split_seed: 1\n", "line 2: this is no valid YAML: a bracket that begins here is not closed"),
        ("tracking:\n  run_name: 'a\ntrain: {}\n", "line 2: this is no valid YAML: a quote that begins here is not closed"),
        ("train:\n  seed 1\n  max_steps: 3\n", "line 3: this is no valid YAML: a wrong indentation, or a text with a colon that needs quotes"),
        ("train:\n  seed: 1\nmax_steps\n", "line 3: this is no valid YAML: a key without a colon"),
        ("tracking:\n  run_name: @me\n", "line 2: this is no valid YAML: put a text that begins with such a character in quotes"),
        ("tracking:\n  run_name: *me\n", "line 2: this is no valid YAML: put a text that begins with * in quotes"),
        ("tracking:\n  run_name: !me\n", "line 2: this is no valid YAML: put a text that begins with ! in quotes"),
        ('data:\n  train_file: "data\\raw\\w"\n', "line 2: this is no valid YAML: a backslash in double quotes; use single quotes"),
        ("train: {}\n---\ndata: {}\n", "line 2: this is no valid YAML: '---' begins a second document; leave one"),
        ("? [a]\n: 1\n", "line 1: this is no valid YAML: a key must be a plain word"),
        ("train: {}\ntask: a\0\n", "line 2: there is a control character (#x0000)"),
        (b"train: {}\ntask: \xe9t\xe9\n", "line 2: this is not UTF-8 text. Save the file as UTF-8."),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_by_line(file: Path, content: str | bytes, said: str) -> None:
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


def test_a_file_that_holds_itself_is_told(file: Path) -> None:
    assert "line 2" in said_of(file, "train: &a\n  seed: *a\n")


def test_three_problems_are_listed_and_the_rest_counted(file: Path) -> None:
    lines = said_of(file, "train:\n  seed: a\n  max_steps: b\n  eval_steps: c\n  logging_steps: d\n  lr: 1\n").splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["params.yaml, line 2", "params.yaml, line 3", "params.yaml, line 4"]
    assert lines[3:] == ["... and 2 more"]
    assert "more" not in said_of(file, "train:\n  seed: a\n  max_steps: b\n  eval_steps: c\n")


def test_a_long_value_is_shortened(file: Path) -> None:
    assert len(said_of(file, f"train:\n  precision: {'x' * 5000}\n")) < 200
    assert len(said_of(file, f"data:\n  dataset_name: [{'x, ' * 500}]\n")) < 200


def test_every_foreign_spelling_leads_to_a_key_that_exists() -> None:
    typed = dict(params_file.sections())
    for foreign, here in params_file._FOREIGN.items():
        section, key = here.split(".")
        assert key in typed[section].model_fields, f"{foreign} -> {here}"


# Writing


def test_the_defaults_are_read_back(file: Path) -> None:
    file.write_text(params_file.render(Params()), encoding="utf-8")
    assert params_file.read(file) == Params()


def test_every_key_is_written_out_with_its_comment(file: Path) -> None:
    text = params_file.render(Params())
    written = yaml.safe_load(text)
    assert list(written) == list(Params.model_fields)
    for name, section in params_file.sections():
        assert list(written[name]) == list(section.model_fields)
        for key, field in section.model_fields.items():
            (line,) = [line for line in text.splitlines() if line.endswith(f"  # {field.description}") and f" {key}:" in line]
            assert line.startswith(f"  {key}:")


@pytest.mark.parametrize(
    "text",
    ["it's", 'say "hi"', "a # b", "a: b", "- a", "*a", "!a", "null", "yes", "1e-4", "07", "", " ", " padded ", "{a}", "日本 é 🎉",
     "two\nlines", "tab\there", "\\n", "\u2028", "\x85", "\ufeff", "\r", "\x07", "---", "...", "a" * 20_000, "a " * 10_000],
)  # fmt: skip
def test_any_text_is_read_back(file: Path, text: str) -> None:
    params = Params(
        data=Data(label_column_name=f"{text}!", text_column_names=[text, "other"], column_names=[text]),
        model=Model(config={"model_type": text, "deep": {text: [text, {"deeper": text}]}, "none": {}, "empty": []}),
        tracking=Tracking(run_name=text, tags={text: text, "other": text}),
    )
    file.write_text(params_file.render(params), encoding="utf-8", newline="\n")
    assert params_file.read(file) == params


def test_numbers_are_read_back(file: Path) -> None:
    params = Params(train=Train(learning_rate=1.2345678901234567e-5, adam_epsilon=1e-12, num_train_epochs=1e7, max_steps=10**12))
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
