"""What deploy/compose.yaml asks of its reader: every value comes from .env, and none has a default."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
_VARIABLE = re.compile(r"\$\{(\w+)(:\?[^}]*)?\}")


def filled(text: str, values: dict[str, str]) -> str:
    """The text as compose fills it in."""
    return _VARIABLE.sub(lambda found: values[found[1]], text)


def variables() -> dict[str, bool]:
    """The variables of compose.yaml, and whether it stops without them."""
    found: dict[str, bool] = {}
    for name, demand in _VARIABLE.findall((DEPLOY / "compose.yaml").read_text()):
        found[name] = found.get(name, False) or bool(demand)
    return found


def example() -> dict[str, str]:
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_variable_is_demanded_and_explained():
    assert all(variables().values()), variables()
    assert set(variables()) == set(example())


def test_no_secret_has_a_default():
    kept = {name for name, value in example().items() if value}
    assert kept == {"MLFLOW_HOST", "MLFLOW_PORT", "S3_PORT"}
    assert ":-" not in (DEPLOY / "compose.yaml").read_text()


def test_images_are_pinned_and_services_watched():
    for name, service in COMPOSE["services"].items():
        assert re.search(r":\d+\.\d+", service["image"]), name
        assert "healthcheck" in service or service["restart"] == "on-failure", name


def test_each_key_of_the_store_opens_one_bucket():
    store = json.loads(filled(COMPOSE["configs"]["store"]["content"], dict.fromkeys(variables(), "x")))
    buckets = {
        identity["name"]: {action.partition(":")[2] for action in identity["actions"]}
        for identity in store["identities"]
    }
    assert buckets == {"mlflow": {"mlflow"}, "ci": {"dvc"}, "reader": {"dvc"}}


def test_the_image_has_the_versions_of_the_tests():
    pins = (DEPLOY.parent / "constraints.txt").read_text().lower().splitlines()
    installed = re.findall(r"[\w-]+(?:\[auth\])?==[\d.]+", (DEPLOY / "Dockerfile").read_text())
    assert len(installed) == 4
    assert [line for line in installed if line.lower().replace("[auth]", "") not in pins] == []
