import re

import numpy as np
import pytest

from pipeline.data.over_length import refuse
from pipeline.errors import UserError
from pipeline.params import Tokenizer

SETTINGS = Tokenizer(max_seq_length=8, max_target_length=1000, over_length="raise")


def test_the_first_row_is_named_and_each_counts_once() -> None:
    said = (
        "b: prompt and reply have 1,200 tokens, more than tokenizer.max_seq_length 8 (2 such rows here).\n"
        "Raise it, or set tokenizer.over_length to truncate, to drop or, where the task knows it, to window."
    )
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        refuse(np.array([8, 3, 1200, 9, 1, 9]), list("aabbcc"), SETTINGS, "prompt and reply have")
    with pytest.raises(UserError, match=r"^a: the text to write has 1,001 .* tokenizer\.max_target_length 1,000 \(1"):
        refuse(np.array([1001]), ["a"], SETTINGS, "the text to write has", "max_target_length")


@pytest.mark.parametrize("way", ["truncate", "drop", "window", None])
def test_only_who_asks_for_an_error_gets_one(way: str | None) -> None:
    refuse(np.array([9]), ["a"], SETTINGS.model_copy(update={"over_length": way}))
    refuse(np.array([8]), ["a"], SETTINGS)
    refuse(np.array([], np.int64), [], SETTINGS)
