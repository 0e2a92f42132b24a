"""Which experiment a checkpoint belongs to."""

from collections.abc import Mapping
from importlib.metadata import version

from pipeline import dag, digest
from pipeline.model import origin
from pipeline.params import Params


def fingerprint(params: Params, inputs: Mapping[str, str]) -> str:
    """What a checkpoint belongs to: all that DVC re-runs the train stage for, and what DVC cannot list.

    The latter is a model folder outside data/models, and the versions that are installed.

    Args:
        inputs: SHA-256 of every dependency of the stage, by path (`dag.inputs`).
    """
    values = params.model_dump(mode="json")
    return digest.of_value(
        {
            "params": {section: values[section] for section in dag.param_sections("train")},
            "inputs": inputs,
            "model": origin.digests(params),
            "versions": {package: version(package) for package in ("peft", "torch", "transformers")},
        }
    )
