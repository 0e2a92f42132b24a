"""Reading params.yaml with errors that name the line and the nearest key, and writing it with its comments."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline import yaml_file
from pipeline.errors import UserError, did_you_mean
from pipeline.params import Params, Section

SCHEMA = Path("params.schema.json")
_MAX_LISTED, _MAX_SHOWN = 3, 60

# Well-known spellings of other tools and times, and what the key is called here.
_FOREIGN = {
    "lr": "train.learning_rate",
    "batch_size": "train.global_batch_size",
    "train_batch_size": "train.global_batch_size",
    "per_device_train_batch_size": "train.global_batch_size",
    "gradient_accumulation_steps": "hardware.micro_batch_tokens",
    "epochs": "train.num_train_epochs",
    "num_epochs": "train.num_train_epochs",
    "max_epochs": "train.num_train_epochs",
    "warmup_ratio": "train.warmup_steps",
    "scheduler": "train.lr_scheduler_type",
    "lr_scheduler": "train.lr_scheduler_type",
    "gradient_clip_val": "train.max_grad_norm",
    "label_smoothing": "train.label_smoothing_factor",
    "fp16": "train.precision",
    "bf16": "train.precision",
    "evaluation_strategy": "train.eval_steps",
    "eval_strategy": "train.eval_steps",
    "max_length": "tokenizer.max_seq_length",
    "model_name": "model.model_name_or_path",
    "text_column": "data.text_column_names",
    "text_column_name": "data.text_column_names",
    "label_column": "data.label_column_name",
    "no_cuda": "hardware.use_cpu",
    "run_name": "tracking.run_name",
}

# Well-known keys of other tools that there is no need of, and why.
_NEEDLESS = {
    "max_answer_length": "an answer is at most as long, in characters, as the longest one of the training rows.",
}

# What a value must be, by pydantic's name of the error.
_MUST = {
    "bool_type": "true or false",
    "dict_type": "a mapping: indented lines of 'key: value'",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "int_type": "a whole number",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le} or less",
    "list_type": "a list, such as [first, second]",
    "model_type": "a section: its keys stand on indented lines below it",
    "string_too_short": "a text that is not empty",
    "string_type": "text",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
}


# How pydantic calls the number in what is a number or auto.
_NUMBER_OR_AUTO = ("int", "constrained-int")


def read(path: Path) -> Params:
    """The validated params.

    Raises:
        UserError: the file is missing or no YAML, or has a key or a value that does not fit; with line numbers.
    """
    values, lines = yaml_file.read(path)
    if values is None:
        raise UserError(f"{path} is empty. Take it from a fresh clone, or write one: reprise init FILE")
    if not isinstance(values, dict):
        raise UserError(
            f"{path} has no sections such as 'train:' with indented keys below them.\n"
            "See params.yaml in a fresh clone, or write one: reprise init FILE"
        )
    try:
        return Params.model_validate(values)
    except ValidationError as invalid:
        problems = [_explain(error, path, lines) for error in invalid.errors() if not _is_choice_of_auto(error)]
    more = len(problems) - _MAX_LISTED
    raise UserError("\n".join(problems[:_MAX_LISTED]) + (f"\n... and {more} more" if more > 0 else ""))


def _is_choice_of_auto(error: ErrorDetails) -> bool:
    """Whether another error tells of the same value: pydantic has one for each thing that it can be."""
    return error["loc"][-1] == "literal['auto']"


def _explain(error: ErrorDetails, path: Path, lines: dict[tuple[str, ...], int]) -> str:
    place = tuple(str(part) for part in error["loc"] if part != "[key]")
    known = next((lines[place[:depth]] for depth in range(len(place), 0, -1) if place[:depth] in lines), None)
    where = f"{path}, line {known}" if known else str(path)
    key, value = ".".join(place), error["input"]
    *parents, last = error["loc"]
    if last in _NUMBER_OR_AUTO:
        return f"{_explain({**error, 'loc': tuple(parents)}, path, lines)}, or auto"
    match error["type"]:
        case "extra_forbidden" | "invalid_key":
            return f"{where}: there is no key '{key}'.{_nearest_key(place)}"
        case "literal_error" if place == ("version",) and type(value) is int:
            return (
                f"{where}: version is {_shown(value)}, but this Reprise reads {error['ctx']['expected']}.\n"
                "Update pipeline/ and stages/ to those that the file was written for, or write it anew: "
                "reprise init FILE"
            )
        case "value_error":
            return f"{where}: {key}: {error['ctx']['error']}"
        case "literal_error":
            return f"{where}: {key} is {_shown(value)}; it can be {error['ctx']['expected']}{_near_choice(error)}"
    if last == "[key]":
        return f"{where}: the key {_shown(value)} must be text; put it in quotes"
    if isinstance(last, int):
        key = f"{'.'.join(map(str, parents))}, item {last + 1},"
    reason = _MUST.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
    hint = "; put it in quotes" if error["type"] == "string_type" and isinstance(value, int | float | date) else ""
    if error["type"] in ("int_type", "float_type", "bool_type") and isinstance(value, str) and _is_other(value):
        hint = ", without quotes"
    return f"{where}: {key} is {_shown(value)}; it must be {reason}{hint}"


def _shown(value: object) -> str:
    """A value as YAML writes it, in a few words."""
    text = repr(value) if isinstance(value, str) else _yaml([value], flow=True)[1:-1]
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _is_other(text: str) -> bool:
    """Whether the text, if it had no quotes, would be a number or true or false."""
    if len(text) > _MAX_SHOWN:
        return False
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return False
    return node is not None and node.tag.rpartition(":")[2] in ("bool", "int", "float")


def _near_choice(error: ErrorDetails) -> str:
    """The nearest allowed value to one that is not."""
    choices = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
    if str(error["input"]) in choices:
        return ", without quotes"
    return "." + did_you_mean(str(error["input"]), choices)


def _nearest_key(place: tuple[str, ...]) -> str:
    *parents, name = place
    section: type[BaseModel] = Params
    for parent in parents:
        annotation = section.model_fields[parent].annotation if parent in section.model_fields else None
        kinds = (annotation, *get_args(annotation))  # itself, or what may also be null
        inner = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if inner is None:
            return ""
        section = inner
    if name in _NEEDLESS:
        return f" It is not needed: {_NEEDLESS[name]}"
    if name in _FOREIGN:
        return f" Did you mean '{_FOREIGN[name]}'?"
    if near := did_you_mean(name, section.spelled() if issubclass(section, Section) else section.model_fields):
        return near.replace("'", f"'{'.'.join(parents)}.", 1) if parents else near
    elsewhere = [f"{top}.{name}" for top, field in sections() if name in field.spelled()]
    if elsewhere:
        return f" Did you mean '{elsewhere[0]}'?"
    return "" if parents else f" The file has {', '.join(Params.model_fields)}."


def sections() -> Iterator[tuple[str, type[Section]]]:
    """The sections that are mappings, in the order of the file."""
    for name, field in Params.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield name, field.annotation


def render(params: Params) -> str:
    """The text of a params.yaml with these values: every key written out, each with its comment."""
    typed = dict(sections())
    text = [f"# yaml-language-server: $schema={SCHEMA}"]
    for name, field in Params.model_fields.items():
        value = getattr(params, name)
        if name not in typed:
            text.append(_entry(name, value, field.description, indent=0))
            continue
        text += ["", f"# {typed[name].__doc__}"]
        text.append(f"{name}:" if typed[name].model_fields else f"{name}: {{}}")
        for key, (field_name, inner) in zip(typed[name].spelled(), typed[name].model_fields.items(), strict=True):
            text.append(_entry(key, getattr(value, field_name), inner.description, indent=2))
    return "\n".join(text) + "\n"


def _entry(key: str, value: Any, description: str | None, indent: int) -> str:
    pad = " " * indent
    if isinstance(value, Section):
        value = value.model_dump(mode="json")
    if isinstance(value, dict) and value:
        inner = _yaml(value, flow=False).splitlines()
        return "\n".join([f"{pad}{key}:  # {description}", *(f"{pad}  {line}" for line in inner)])
    return f"{pad}{key}: {_yaml([value], flow=True)[1:-1]}  # {description}"


def _yaml(value: Any, flow: bool) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=flow, sort_keys=False, allow_unicode=True, width=1_000_000
    )
    return text.strip()


class _Dumper(yaml.SafeDumper):
    """Keeps every text on one line, so that comments can stand behind it."""


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text_node)


def schema() -> str:
    """The JSON Schema of params.yaml."""
    return json.dumps(Params.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
