"""Examples that are longer than they may be, where `tokenizer.over_length` is `raise`."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pipeline.errors import UserError
from pipeline.params import Tokenizer


def refuse(
    lengths: np.ndarray,
    ids: Sequence[str],
    settings: Tokenizer,
    what: str = "the row has",
    key: Literal["max_seq_length", "max_target_length"] = "max_seq_length",
) -> None:
    """Raise a UserError that names the first row that is too long, if `over_length` is `raise`.

    Args:
        lengths: tokens of each sequence before any is cut off.
        ids: where the row of each stands; that of a row with several sequences stands here as often.
        what: is counted.
        key: of the settings, that limits it.
    """
    most: int = getattr(settings, key)
    too_long = np.flatnonzero(lengths > most)
    if settings.over_length != "raise" or not len(too_long):
        return
    first, rows = int(too_long[0]), len({ids[place] for place in too_long.tolist()})
    raise UserError(
        f"{ids[first]}: {what} {lengths[first]:,} tokens, more than tokenizer.{key} {most:,} "
        f"({rows:,} such rows here).\n"
        "Raise it, or set tokenizer.over_length to truncate, to drop or, where the task knows it, to window."
    )
