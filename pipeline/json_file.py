"""JSON files as this project writes them: the same bytes for the same value on every machine."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(path: Path, value: object) -> None:
    """Write a value, and the folder if there is none; a number that is not finite, which JSON lacks, becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
