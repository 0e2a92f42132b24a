import json
from pathlib import Path

import pytest

from pipeline import project
from pipeline.errors import UserError
from pipeline.params import Tokenizer
from pipeline.serving import card

STATE = {"labels": ["bad", "good"], "inputs": ["text", "text_pair"]}
GOOD = {"task": "text-classification", "state": STATE, "tokenizer": {"max_seq_length": 48}}


def model_folder(folder: Path, text: str | None) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    if text is not None:
        (folder / project.MODEL_CARD).write_text(text)
    return folder


def test_reads_what_the_card_says(folder: Path):
    found = card.read(model_folder(folder / "mine", json.dumps(GOOD)))
    assert found == card.Card("text-classification", STATE, Tokenizer(max_seq_length=48))
    assert found.columns == ("text", "text_pair")


@pytest.mark.parametrize("path", [project.BEST_MODEL, project.BEST_MODEL.absolute])
def test_no_model_yet_says_how_to_get_one(folder: Path, path):
    with pytest.raises(UserError, match=r"no model in models/best yet.*dvc repro.*dvc checkout"):
        card.read(path() if callable(path) else path)


def test_a_mistyped_folder_names_the_nearest(folder: Path):
    model_folder(folder / "models" / "reviews", json.dumps(GOOD))
    with pytest.raises(UserError, match=r"no folder models/reviws. Did you mean 'reviews'\?"):
        card.read(Path("models/reviws"))


def test_a_folder_that_is_no_model(folder: Path):
    (folder / "data").mkdir()
    with pytest.raises(UserError, match=r"data holds no model: it has no config.json"):
        card.read(folder / "data")


def test_a_model_that_reprise_did_not_export(folder: Path):
    with pytest.raises(UserError, match=r"hub was not exported by Reprise: it has no reprise.json"):
        card.read(model_folder(folder / "hub", None))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"task": "text-classification"}', "\xff"])
def test_a_broken_card_is_no_traceback(folder: Path, text: str):
    broken = model_folder(folder / "mine", None)
    (broken / project.MODEL_CARD).write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"reprise.json is not as Reprise writes it.*dvc checkout"):
        card.read(broken)
