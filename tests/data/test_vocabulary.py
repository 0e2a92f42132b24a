"""What is learned from texts is the same in every process."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from pipeline.data import vocabulary
from pipeline.data.tokenizer import train
from pipeline.errors import UserError
from pipeline.params import Tokenizer
from tests.conftest import REPOSITORY

KINDS = ("bpe", "wordpiece", "unigram")
TRAIN = """
import json, sys
from pathlib import Path
from pipeline import environment
environment.prepare()
from pipeline.data.tokenizer import train
from pipeline.params import Tokenizer
texts = json.loads(Path("texts.json").read_text())
for kind in ("bpe", "wordpiece", "unigram"):
    settings = Tokenizer(tokenizer_type=kind, vocab_size=300, max_seq_length=16)
    train(texts, settings).save_pretrained(Path(sys.argv[1]) / kind)
"""


def texts() -> list[str]:
    """Words of few letters, so that many pairs and pieces are as frequent as others; and letters seen once."""
    draw = random.Random(5)
    words = ["".join(draw.choices("abcdefghé", k=draw.randint(1, 7))) for _ in range(300)]
    return [" ".join(draw.choices(words, k=8)) for _ in range(200)] + ["xyz 日本 qü 7+8"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two fresh processes, with other hash seeds and thread pools, have trained: the folders `0` and `1`."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "texts.json").write_text(json.dumps(texts()))
    seeds = ({"PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "1"}, {"PYTHONHASHSEED": "8", "RAYON_NUM_THREADS": "3"})
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(place)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **seed},
        )
        for place, seed in enumerate(seeds)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_training_in_fresh_processes_gives_the_same_files(trained: Path, kind: str) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        one, other = ((trained / place / kind / name).read_bytes() for place in "01")
        assert one == other
    assert json.loads(one)["model_max_length"] == 16
    assert len(AutoTokenizer.from_pretrained(trained / "0" / kind)) == 300


def test_rare_characters_have_one_probability_and_no_last_digits() -> None:
    scores = {"ab": -1.00001234, "z": -9.0003, "y": -9.0002, "x": -9.0001, "b": -8.0}
    expected = [("ab", -1.0), ("b", -8.0), ("x", -9.0003), ("y", -9.0003), ("z", -9.0003)]
    assert vocabulary._ordered(scores) == expected
    assert vocabulary._ordered({**scores, "z": -9.0002, "y": -9.0003}) == expected


def test_the_alphabet_is_that_of_the_most_frequent_characters() -> None:
    encoder = train(["aab " * 20, "日本語" * 30 + "z"], Tokenizer(tokenizer_type="wordpiece", vocab_size=300))
    assert {"a", "##a", "b", "##b", "日", "z"} <= set(encoder.get_vocab())
    many = "".join(chr(0x4E00 + place) for place in range(200))
    encoder = train([many + "abc" * 9], Tokenizer(tokenizer_type="wordpiece", vocab_size=300))
    assert len(encoder) <= 300
    assert encoder.convert_tokens_to_ids("##a") != encoder.unk_token_id


def test_a_unigram_vocabulary_without_room_for_all_characters_is_refused() -> None:
    many = ["".join(chr(0x4E00 + place) for place in range(400))]
    with pytest.raises(UserError, match=r"tokenizer.vocab_size: .*not large enough.* take tokenizer_type bpe"):
        train(many, Tokenizer(tokenizer_type="unigram", vocab_size=300))
