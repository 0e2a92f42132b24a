"""Keys and values as MLflow takes them: flat, within its limits, marked where they were cut, without secrets."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from urllib.parse import quote

# Limits of MLflow 3's databases (mlflow/utils/validation.py), in characters. Beyond them it cuts with only a warning.
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
KEY_LENGTH = 250

_NOT_IN_KEYS = re.compile(r"[^\w\-. :/]", re.ASCII)
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")  # up to the last @: a careless password has one, too
_IN_QUERY = re.compile(r"(?i)(?<=[?&])((?:[\w\-]*(?:token|password|passwd|secret|signature|key))=)[^&\s]+")
_SECRET_VARIABLE = re.compile(
    r"(?i)(token(?!izer)|password|passwd|secret|credential|api_?key|access_?key|private_?key|passphrase|_(?:pwd|pass|pat)$)"
)
_SHORTEST_SECRET = 8
_MASK = "(secret)"  # YAML stays YAML with it, where it would take `***` for an alias


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested values under dotted keys, written as in params.yaml: ``{"train": {"seed": 1}}`` is ``train.seed = 1``."""
    flat = {}
    for name, value in _leaves(values, prefix):
        flat[key(name) if key(name) not in flat else _distinct(name)] = cut(without_secrets(_text(value)), PARAM_LENGTH)
    return flat


def _leaves(values: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@cache  # a training asks for the same few names at each of its steps
def key(name: str) -> str:
    """The name with what MLflow refuses in keys replaced: letters, digits and ``_-. :/`` stay, and no empty parts."""
    parts = _NOT_IN_KEYS.sub("_", name).split("/")
    clean = "/".join(part if part.strip(".") else "_" * max(1, len(part)) for part in parts)
    return clean if len(clean) <= KEY_LENGTH else _distinct(clean)


def _distinct(name: str) -> str:
    """A key that another name cannot have, for names that differ only in what keys cannot say."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{key(name[: KEY_LENGTH - 13])}_{digest}"


def tags(values: Mapping[str, str]) -> dict[str, str]:
    """Tags with allowed keys, within the limits, and without secrets."""
    return {key(name): tag(value) for name, value in values.items()}


def tag(value: str) -> str:
    """A tag's value: without secrets, and marked where it was cut."""
    return cut(without_secrets(value), TAG_LENGTH)


def cut(text: str, length: int) -> str:
    """The text if it fits, else its beginning, an ellipsis, and the SHA-256 of all of it."""
    if len(text) <= length:
        return text
    end = f"… sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return text[: length - len(end)] + end


def without_secrets(text: str) -> str:
    """The text without user names and passwords in addresses, and without values of secret environment variables."""
    text = _IN_QUERY.sub(r"\1***", _USERINFO.sub("", text))
    for secret in secret_values():
        text = text.replace(secret, _MASK)
    return text


def secret_values() -> list[str]:
    """The values of environment variables that hold secrets, as they are and as JSON, YAML and addresses spell them.

    The longest come first: one secret may be a part of another.
    """
    values = {value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name)}
    spelled = {form for value in values for form in (value, json.dumps(value)[1:-1], quote(value, safe=""))}
    return sorted((form for form in spelled if len(form) >= _SHORTEST_SECRET), key=len, reverse=True)
