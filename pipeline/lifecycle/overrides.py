"""Values of params.yaml that a command line sets: written in their place, so that every comment stays."""

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipeline import params_file
from pipeline.errors import UserError
from pipeline.params import Params

FOR_THIS_RUN = ("hardware", "tracking")
"""Sections whose overrides are for one run: where it runs, and how it is called, is no part of what is proposed."""
_GATE = "promotion"
_KEY = re.compile(r"\w+(\.\w+)*")


@contextmanager
def written(overrides: Sequence[str], path: Path) -> Iterator[Params]:
    """The params with these overrides, which the file holds within the block.

    Behind it the file has those of the experiment, and no longer those `FOR_THIS_RUN`. When the block raises, the file
    is as it was.

    Args:
        overrides: `KEY=VALUE` each, such as `train.learning_rate=1e-4`.
        path: params.yaml.

    Raises:
        UserError: one is no KEY=VALUE, or names what there is not, or would change the gate.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    # First those that stay: the file has only them when the block has ended well.
    staying = [override for override in overrides if override.split(".")[0] not in FOR_THIS_RUN]
    with_staying = _with(before, staying)
    text = _with(with_staying, [override for override in overrides if override not in staying])
    after = before
    try:
        if text != before:
            path.write_text(text, encoding="utf-8", newline="\n")
        yield _read(path, overrides)
        after = with_staying
    finally:
        if text != after:
            path.write_text(after, encoding="utf-8", newline="\n")


def _read(path: Path, overrides: Sequence[str]) -> Params:
    try:
        return params_file.read(path)
    except UserError as error:
        if not overrides:
            raise
        raise UserError(f"With {' '.join(f'--set {override}' for override in overrides)}: {error}") from None


def _with(text: str, overrides: Sequence[str]) -> str:
    for override in overrides:
        text = _set(text, override)
    return text


def _set(text: str, override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or not _KEY.fullmatch(key):
        raise UserError(f"--set {override}: this is no KEY=VALUE, such as train.learning_rate=1e-4")
    place = key.split(".")
    if place[0] == _GATE:
        raise UserError(f"--set {override}: the gate is changed by a commit to params.yaml, not for one run.")
    try:
        wanted, values = yaml.safe_load(value), yaml.safe_load(text)
        new = _spliced(text, place, value.strip() or "null")
        done = "\n" not in value and yaml.safe_load(new) == _expected(values, place, wanted)
    except yaml.YAMLError:
        done = False
    if not done:
        raise UserError(f"--set {override}: '{value}' cannot stand behind '{place[-1]}:' in params.yaml.")
    return new


def _spliced(text: str, place: Sequence[str], value: str) -> str:
    """The text with another value there; a key that the file leaves out is put first into its section."""
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    above: yaml.Node | None = None
    for depth, name in enumerate(place):
        inner = {key.value: (key, found) for key, found in node.value} if isinstance(node, yaml.MappingNode) else {}
        if name not in inner:
            if above is None or depth < len(place) - 1 or node is None or not isinstance(node, yaml.MappingNode):
                raise yaml.YAMLError
            start = node.start_mark.index
            pad = " " * node.start_mark.column
            return f"{text[:start]}{name}: {value}\n{pad}{text[start:]}"
        above, node = inner[name]
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        raise yaml.YAMLError
    assert node is not None
    return f"{text[: node.start_mark.index]}{value}{text[node.end_mark.index :]}"


def _expected(values: Any, place: Sequence[str], wanted: Any) -> Any:
    expected = inner = copy.deepcopy(values)
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = wanted
    return expected
