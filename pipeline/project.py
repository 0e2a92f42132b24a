"""Where things lie. Relative paths belong to the checkout that runs; `home` to the project it is a copy of."""

import os
from pathlib import Path

PARAMS = Path("params.yaml")
RAW = Path("data/raw")
MODELS = Path("data/models")
CHECKED = Path("data/checked.txt")
PREPARED = Path("data/prepared")
SLICES = Path("data/slices")
TOKENIZED = Path("data/tokenized")
BEST_MODEL = Path("models/best")
MODEL_CARD = "reprise.json"
TRAIN_METRICS = Path("metrics/train.json")
EVALUATION_METRICS = Path("metrics/evaluation.json")
TRAIN_CURVE = Path("plots/train.csv")
VALIDATION_CURVES = Path("plots/validation")
CONFUSION_MATRIX = Path("plots/confusion_matrix.csv")
REPORTS = Path("reports")
REPORT = REPORTS / "index.html"
RESULTS = REPORTS / "evaluation.json"
EXAMPLES = REPORTS / "examples"

SPLITS = ("train", "validation", "test")


def home() -> Path:
    """The project's main folder.

    `dvc exp run --temp` and `--queue` run stages in a temporary copy that is deleted afterwards;
    DVC_ROOT names the folder that the copy was made of. What must outlive a run lies there.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def state() -> Path:
    """The folder of what outlives a run but is no output: checkpoints and the map of runs (git-ignored)."""
    return home() / ".reprise"
