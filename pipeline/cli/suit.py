"""Params that suit somebody's rows: what `reprise init` writes beside the columns."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from transformers import PreTrainedTokenizerBase

from pipeline import params_file, project
from pipeline.cli.by_columns import is_guessed
from pipeline.cli.guess import Found
from pipeline.data import tokenizer
from pipeline.errors import UserError
from pipeline.params import Model, Params, Tokenizer, Train

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from pipeline.tasks.base import Task

EXAMPLES = Path("examples")
_SAMPLE = 2_000  # rows that are tokenized to choose max_seq_length
_KEPT_WHOLE = 0.99  # share of the texts that max_seq_length shall not cut
_LONGEST = 512  # tokens; longer ones mostly cost more than they gain
_MULTIPLE = 8
_WORDS_A_TOKEN = 30
_SMALL = 512  # hidden_size below which a pretrained model wants a higher learning rate


def suit(found: Found, model: str | None) -> Params:
    """Params for these rows, and a reason for each choice in `found.why`.

    What lies outside the experiment (hardware, tracking, promotion) stays as the project's params.yaml has it.

    Args:
        model: a pretrained model, a folder or a name of the hub; None trains from scratch.

    Raises:
        UserError: there is no such model, or it does not fit.
    """
    params = _outside(found)
    if model:
        params = _fine_tuning(params, found, model)
    else:
        params = _from_scratch(params, found) if is_guessed(found.task) else _as_the_example(params, found)
    found.why["tracking.experiment_name"] = "the name in MLflow: after the file, its folder or the project's"
    Params.model_validate(params.model_dump())
    return params


def _outside(found: Found) -> Params:
    try:
        before = params_file.read(project.PARAMS)
    except UserError:
        before = Params()
    name = _experiment_name(Path(str(found.data.train_file)))
    tracking = before.tracking.model_copy(update={"experiment_name": name, "run_name": None})
    return Params(
        task=found.task, data=found.data, hardware=before.hardware, tracking=tracking, promotion=before.promotion
    )


def _experiment_name(path: Path) -> str:
    """What the file is about: its name without `train`, else its folder, else the project's folder."""
    stem = re.sub(r"[-_. ]*(?<![a-z])train(ing)?(?![a-z])[-_. ]*", "", path.name.split(".")[0], flags=re.IGNORECASE)
    return stem or (Path.cwd().name if path.parent == project.RAW else path.parent.name)


def _fine_tuning(params: Params, found: Found, name: str) -> Params:
    # Imported here: torch takes seconds, and nothing else of this command needs it.
    from pipeline import tasks
    from pipeline.model.check import check
    from pipeline.model.config import load_config, positions
    from pipeline.model.tokenizer import load_tokenizer

    chosen = Model(model_name_or_path=name, config=None)
    params = params.model_copy(update={"model": chosen})
    config, encoder = load_config(chosen), load_tokenizer(params)
    assert encoder is not None, "a pretrained model brings its tokenizer"
    found.why["model.model_name_or_path"] = f"a {config.model_type} model, with its own tokenizer"
    longest = positions(config) or _LONGEST
    length = _max_seq_length(found, encoder, longest) if is_guessed(found.task) else min(longest, _LONGEST)
    task = tasks.find(params.task)
    rate, found.why["train.learning_rate"] = _rate(config, task)
    train = Train().model_copy(update={"learning_rate": rate, "num_train_epochs": 3, "global_batch_size": 32})
    found.why["train.num_train_epochs"] = "usual for a pretrained model"
    params = params.model_copy(update={"tokenizer": Tokenizer(max_seq_length=length), "train": train})
    found.notes += check(params, task)
    return params


def _rate(config: "PreTrainedConfig", task: "type[Task]") -> tuple[float, str]:
    """The learning rate for a pretrained model, and why."""
    if task.fine_tuning_rate is not None:
        return task.fine_tuning_rate, "usual for this task and a pretrained model"
    size = getattr(config.get_text_config(), "hidden_size", None)
    if isinstance(size, int) and size < _SMALL:
        # MiniLM (384) on banking77: 69.8% of the test rows after three epochs at 5e-5, 90.9% of validation at 2e-4.
        return 2e-4, f"a small pretrained model (hidden_size {size}) learns too slowly at the usual 5e-5"
    return 5e-5, "usual for a pretrained model"


def _from_scratch(params: Params, found: Found) -> Params:
    words = sum(len(text.split()) for column in _texts(found) for text in column)
    vocab_size = min(max(1000 * round(words / _WORDS_A_TOKEN / 1000), 1000), Tokenizer().vocab_size)
    chosen = Tokenizer(vocab_size=vocab_size)
    found.why["tokenizer.vocab_size"] = f"for {words:,} words"
    encoder = tokenizer.train((text for column in _texts(found, _SAMPLE) for text in column), chosen)
    length = _max_seq_length(found, encoder, _LONGEST)
    return params.model_copy(update={"tokenizer": chosen.model_copy(update={"max_seq_length": length})})


def _as_the_example(params: Params, found: Found) -> Params:
    """From scratch, as the task's example is: what suits a model of its kind. A task without one has the defaults."""
    path = EXAMPLES / found.task / project.PARAMS.name
    if not path.is_file():
        return params
    example = params_file.read(path)
    found.why["tokenizer.max_seq_length"] = found.why["train.learning_rate"] = "as in the task's example"
    found.notes.append(f"Model, tokenizer and training are those of {path}, which is small; make them fit your rows.")
    evaluate = example.evaluate.model_copy(update={"slices": []})
    return params.model_copy(
        update={"tokenizer": example.tokenizer, "model": example.model, "train": example.train, "evaluate": evaluate}
    )


def _texts(found: Found, rows: int | None = None) -> list[list[str]]:
    """The columns of text: all rows, or so many of them, evenly spread."""
    table = found.table
    if rows is not None and len(table) > rows:
        table = table.take(np.linspace(0, len(table) - 1, rows, dtype=np.int64))
    return [[str(text or "") for text in table[name].to_pylist()] for name in found.texts]


def _max_seq_length(found: Found, encoder: PreTrainedTokenizerBase, limit: int) -> int:
    """A length that cuts hardly a text, a multiple of 8, and no more than the model takes."""
    encoded = encoder(*_texts(found, _SAMPLE), return_attention_mask=False, verbose=False)["input_ids"]
    lengths = np.sort([len(ids) for ids in encoded])
    whole = int(lengths[math.ceil(_KEPT_WHOLE * len(lengths)) - 1])
    length = min(math.ceil(whole / _MULTIPLE) * _MULTIPLE, limit, _LONGEST)
    cut = float((lengths > length).mean())
    longest = f"the longest text has {lengths[-1]:,} tokens"
    found.why["tokenizer.max_seq_length"] = f"{longest}; {cut:.1%} of the texts are cut" if cut else longest
    return length
