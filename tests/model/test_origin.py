"""A folder or a name that leads nowhere is told; what it stands for is known by content."""

from pathlib import Path

import pytest

from pipeline import project
from pipeline.errors import UserError
from pipeline.model import origin
from pipeline.model.check import check
from pipeline.model.origin import digests
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT
from tests.model.tiny import (
    edit_config,
    export_tiny,
    from_scratch,
    pretrained,
    refused,
)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("data/models/mini", "model.model_name_or_path: there is no folder data/models/mini. Did you mean 'minilm'?"),
        ("./minilm", "model.model_name_or_path: there is no folder ./minilm."),
        ("/no/such/folder", "model.model_name_or_path: there is no folder /no/such/folder."),
        ("a/b/c", "model.model_name_or_path: there is no folder a/b/c."),
        ("org/name", "neither a folder nor a model of the hub (or there is no network): org/name"),
        ("bert-base-uncased", "neither a folder nor a model of the hub (or there is no network): bert-base-uncased"),
        ("no name!", "neither a folder nor a model of the hub (or there is no network): no name!"),
    ],
)
def test_a_name_that_leads_nowhere(folder: Path, name: str, said: str) -> None:
    (folder / "data" / "models" / "minilm").mkdir(parents=True)
    assert refused(pretrained(name)).startswith(said) or said in refused(pretrained(name))


def test_a_folder_that_a_temporary_copy_lacks_says_what_to_add(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "data" / "models" / "mini").mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(home))
    assert "dvc add data/models/mini, and commit data/models/mini.dvc" in refused(pretrained("data/models/mini"))


def test_the_digest_of_a_folder_is_its_content_and_of_a_hub_model_its_revision(exported: Path) -> None:
    params = pretrained(exported)
    before = digests(params)
    edit_config(exported, hidden_dropout_prob=0.2)
    assert digests(params) != before
    assert digests(pretrained("org/name", model_revision="a")) == {"model.model_name_or_path": "org/name@a"}
    assert digests(from_scratch(TINY_BERT)) == {}


@pytest.mark.parametrize(
    ("name", "key"),
    [("models/best", "model.model_name_or_path"), ("data/tokenized/tokenizer", "tokenizer.tokenizer_name")],
)
def test_an_output_is_refused_because_dvc_would_delete_it(folder: Path, name: str, key: str) -> None:
    (folder / name).mkdir(parents=True)
    params = pretrained(name) if key.startswith("model") else from_scratch(TINY_BERT, tokenizer_name=name)
    assert refused(params) == (
        f"{key}: {name} is an output, which DVC deletes before it is made again.\n"
        f"Copy it first: cp -r {name} data/models/NAME, and name the copy."
    )


def test_a_folder_that_dvc_does_not_watch_is_a_warning(folder: Path) -> None:
    made = export_tiny(folder)
    (folder / "link").symlink_to(made)
    (warning,) = check(pretrained("link"), TextClassification)
    assert "Copy it there: cp -r link data/models/" in warning
    (warning,) = check(from_scratch(TINY_BERT, tokenizer_name="link"), TextClassification)
    assert warning.startswith("tokenizer.tokenizer_name: DVC watches data/models/ only")
    for watched in (made.relative_to(folder), made):
        assert check(pretrained(watched), TextClassification) == []


def test_a_folder_that_changes_after_tokenize_is_told(folder: Path) -> None:
    made = export_tiny(folder)
    project.TOKENIZED.mkdir(parents=True)
    origin.note(pretrained(made))
    origin.check_noted(pretrained(made))
    edit_config(made, note="changed")
    with pytest.raises(UserError, match=r"model_name_or_path: .*/tiny has changed since stage tokenize used it"):
        origin.check_noted(pretrained(made))
