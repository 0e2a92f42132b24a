"""Reading params.yaml with errors that name the line and the nearest key, and writing it with its comments."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import UserError, did_you_mean
from pipeline.params import Params, Section

SCHEMA = Path("params.schema.json")
_MAX_LISTED = 3

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


def read(path: Path) -> Params:
    """The validated params.

    Raises:
        UserError: the file is missing or no YAML, or has a key or a value that does not fit; with line numbers.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_lines(root, ())) if root is not None else {}
        values = yaml.safe_load(text)
    except FileNotFoundError:
        raise UserError(
            f"{path} is not here ({Path.cwd()}). Go to the project's folder, or write one: reprise init FILE"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{where}: this is no valid YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} has no sections. See params.yaml in a fresh clone, or write one: reprise init FILE")
    try:
        return Params.model_validate(values)
    except ValidationError as invalid:
        problems = [_explain(error, path, lines) for error in invalid.errors()]
    more = len(problems) - _MAX_LISTED
    raise UserError("\n".join(problems[:_MAX_LISTED] + ([f"... and {more} more"] if more > 0 else [])))


def _lines(node: yaml.Node, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """The line of every key, by its place; a key that stands twice is an error, not the last one's value."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            raise yaml.MarkedYAMLError(problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark)
        seen.add(key.value)
        yield (*place, key.value), key.start_mark.line + 1
        yield from _lines(value, (*place, key.value))


def _explain(error: ErrorDetails, path: Path, lines: dict[tuple[str, ...], int]) -> str:
    place = tuple(str(part) for part in error["loc"])
    known = next((lines[place[:depth]] for depth in range(len(place), 0, -1) if place[:depth] in lines), None)
    where = f"{path}, line {known}" if known else str(path)
    key = ".".join(place)
    value = error["input"]
    match error["type"]:
        case "extra_forbidden":
            return f"{where}: there is no key '{key}'.{_nearest_key(place)}"
        case "value_error":
            return f"{where}: {key}: {error['ctx']['error']}"
        case "literal_error":
            return f"{where}: {key} is {value!r}; it can be {error['ctx']['expected']}{_near_choice(error)}"
        case _:
            reason = error["msg"][:1].lower() + error["msg"][1:]
            return f"{where}: {key} is {value!r}: {reason}"


def _near_choice(error: ErrorDetails) -> str:
    """The nearest allowed value to one that is not."""
    choices = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
    return "." + did_you_mean(str(error["input"]), choices)


def _nearest_key(place: tuple[str, ...]) -> str:
    *parents, name = place
    section: type[BaseModel] = Params
    for parent in parents:
        inner = section.model_fields[parent].annotation if parent in section.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ""
        section = inner
    if name in _FOREIGN:
        return f" Did you mean '{_FOREIGN[name]}'?"
    if near := did_you_mean(name, section.model_fields):
        return near
    elsewhere = [f"{top}.{name}" for top, field in sections() if name in field.model_fields]
    return f" Did you mean '{elsewhere[0]}'?" if elsewhere else ""


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
        for key, inner in typed[name].model_fields.items():
            text.append(_entry(key, getattr(value, key), inner.description, indent=2))
    return "\n".join(text) + "\n"


def _entry(key: str, value: Any, description: str | None, indent: int) -> str:
    pad = " " * indent
    if isinstance(value, dict) and value:
        inner = yaml.safe_dump(value, sort_keys=False, allow_unicode=True).splitlines()
        return "\n".join([f"{pad}{key}:  # {description}", *(f"{pad}  {line}" for line in inner)])
    plain = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10_000).strip()[1:-1]
    return f"{pad}{key}: {plain}  # {description}"


def schema() -> str:
    """The JSON Schema of params.yaml."""
    return json.dumps(Params.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
