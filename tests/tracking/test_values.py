import hashlib
import json
from urllib.parse import quote

import pytest
from mlflow.utils.validation import (
    MAX_ENTITY_KEY_LENGTH,
    MAX_PARAM_VAL_LENGTH,
    MAX_TAG_VAL_LENGTH,
    _validate_metric_name,
)

from pipeline.params import Params
from pipeline.tracking import values


def test_params_are_flat_and_spelled_as_in_the_file():
    flat = values.flatten(Params().model_dump(mode="json"))
    assert flat["train.learning_rate"] == str(Params().train.learning_rate)
    assert flat["train.adam_epsilon"] == "1e-08"
    assert flat["data.train_file"] == "null"
    assert flat["data.text_column_names"] == "null"
    assert flat["evaluate.slices"] == '["label", "length"]'
    assert flat["data.decontaminate_train"] == "true"
    assert flat["model.config.model_type"] == "modernbert"
    assert flat["model.config.num_hidden_layers"] == "1"
    assert flat["task"] == "text-classification"


def test_the_limits_are_mlflows():
    assert (MAX_PARAM_VAL_LENGTH, MAX_TAG_VAL_LENGTH, MAX_ENTITY_KEY_LENGTH) == (
        values.PARAM_LENGTH,
        values.TAG_LENGTH,
        values.KEY_LENGTH,
    )


@pytest.mark.parametrize("length", [5999, 6000])
def test_a_value_that_fits_stays(length: int):
    assert values.flatten({"a": "x" * length}) == {"a": "x" * length}


def test_a_value_that_does_not_fit_ends_with_an_ellipsis_and_its_digest():
    text = "é" * 6001
    cut = values.flatten({"a": text})["a"]
    assert len(cut) == 6000
    assert cut.startswith("ééé")
    assert cut.endswith(f"… sha256:{hashlib.sha256(text.encode()).hexdigest()}")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("validation/accuracy", "validation/accuracy"),
        ("recall@1", "recall_1"),
        ("a[0] %x", "a_0_ _x"),
        ("ünï", "_n_"),
        ("a//b/", "a/_/b/_"),
        ("../x", "__/x"),
        (".", "_"),
        ("", "_"),
    ],
)
def test_keys_are_such_that_mlflow_takes_them(name: str, key: str):
    assert values.key(name) == key
    _validate_metric_name(values.key(name))


def test_long_keys_and_keys_that_meet_stay_apart():
    long = values.key("k" * 300)
    assert len(long) == 250
    assert long != values.key("k" * 301)
    assert sorted(values.flatten({"f@1": "one", "f#1": "two"}).values()) == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ann:pa55@host/repo.git", "https://host/repo.git"),
        ("postgresql://u:p%40ss@h:5432/db failed", "postgresql://h:5432/db failed"),
        ("postgresql://u:p@ss@h:5432/db", "postgresql://h:5432/db"),
        ("http://h/x?token=abc&user=1", "http://h/x?token=***&user=1"),
        ("http://h/x?X-Amz-Signature=abc", "http://h/x?X-Amz-Signature=***"),
        ("mail ann@host.org", "mail ann@host.org"),
    ],
)
def test_addresses_lose_their_secrets(text: str, shown: str):
    assert values.without_secrets(text) == shown


def test_values_of_secret_variables_are_taken_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    monkeypatch.setenv("MYSQL_PWD", "pwd_0123456789")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "switched_off")
    monkeypatch.setenv("OLDPWD", "/some/folder")
    note = {"note": "used hf_0123456789, pwd_0123456789, switched_off, /some/folder"}
    assert values.tags(note) == {"note": "used (secret), (secret), switched_off, /some/folder"}
    assert values.flatten({"a": ["hf_0123456789"]}) == {"a": '["(secret)"]'}


def test_a_secret_is_found_however_it_is_spelled(monkeypatch: pytest.MonkeyPatch):
    secret = 'sl/sh"quote\\back'
    monkeypatch.setenv("DB_PASSWORD", secret)
    assert values.flatten({"a": [secret]}) == {"a": '["(secret)"]'}
    assert "sh" not in values.without_secrets(f"url {quote(secret, safe='')} json {json.dumps(secret)} plain {secret}")
