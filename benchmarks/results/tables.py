"""The tables of docs/results.md, from the lines that run.py wrote."""

import json
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.evaluation.verdict import headline_score, strongest
from pipeline.scores import is_share

RUNS = Path(__file__).resolve().parent / "runs.jsonl"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"

Run = Mapping[str, Any]
