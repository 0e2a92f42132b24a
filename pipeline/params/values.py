"""Types of single values, as YAML writes them: each says what it takes."""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

MAX_SEED = 2**32 - 1
"""What NumPy's and scikit-learn's generators take, too."""

# YAML 1.1 reads 1e-4 (no dot) as a string, YAML 1.2, which DVC writes, as a number. Both are meant as one.
_EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")


def _number(value: object) -> object:
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _files(value: object) -> object:
    # Said here, because a union explains itself once for each of its types.
    names = [value] if isinstance(value, str) else value if isinstance(value, list) and len(value) > 1 else [None]
    if value is not None and not all(isinstance(name, str) for name in names):
        raise PydanticCustomError("files", "the name of a file, or a list of two or more names")
    return value


def _steps(value: float) -> float:
    if value >= 1 and not value.is_integer():
        raise PydanticCustomError("steps", "a whole number of steps, or below 1 a fraction of all steps")
    return value


def _dotted(value: str) -> str:
    if "." not in value or not all(part.isidentifier() for part in value.split(".")):
        raise PydanticCustomError("dotted", "a dotted name, such as mypackage.module.name")
    return value


def _weights(value: object) -> object:
    if value is None or value == "balanced":
        return value
    if not isinstance(value, dict) or not value:
        raise ValueError("it can be null, balanced, or weights by label, such as {rare: 2.0}")
    # YAML reads a label such as 0 as a number.
    weights = {str(label) if type(label) is int else label: _number(weight) for label, weight in value.items()}
    for label, weight in weights.items():
        if not isinstance(label, str):
            raise ValueError(f"the label {label!r} must be text; put it in quotes")
        if isinstance(weight, bool) or not (isinstance(weight, int | float) and 0 < weight < float("inf")):
            raise ValueError(f"the weight of '{label}' must be a number above 0")
    return weights


def _json(value: object) -> object:
    # YAML knows dates, bytes, endless numbers and mappings that hold themselves; a model's config.json does not.
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise PydanticCustomError("json", "text, a finite number, true, false, null, or a list of these") from None
    return value


Number = Annotated[float, BeforeValidator(_number)]
Names = Annotated[list[str], BeforeValidator(_list)]
Files = Annotated[str | Annotated[list[str], Field(min_length=2)] | None, BeforeValidator(_files)]
DottedName = Annotated[str, AfterValidator(_dotted)]
DottedNames = Annotated[list[DottedName], BeforeValidator(_list)]
ClassWeights = Annotated[Literal["balanced"] | dict[str, float] | None, BeforeValidator(_weights)]
JsonValue = Annotated[Any, AfterValidator(_json)]
Steps = Annotated[Number, AfterValidator(_steps)]
