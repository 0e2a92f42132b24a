"""The model card, in the format of the Hugging Face hub: a README.md with YAML in front.

It says what the run knows, and holds no text of a row. What nobody told the run, such as the license of the data, is
named as missing, not guessed.
"""

from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pipeline import project, tasks
from pipeline.evaluation.page import shortened
from pipeline.evaluation.report import Findings
from pipeline.evaluation.verdict import headline, places, strongest
from pipeline.params import Params
from pipeline.scores import number

NAME = "model_card.md"
_PACKAGES = ("transformers", "torch", "tokenizers")
# What the hub calls the scores that it knows, and how the others are called is left to them.
_OF_HUB = {"f1_macro": "f1", "mcc": "matthews_correlation"}
_MOST_LABELS, _LONGEST_LABEL = 50, 60


def write(findings: Findings, folder: Path) -> None:
    """Write the card into the folder of the report."""
    (folder / NAME).write_text(render(findings), encoding="utf-8", newline="\n")


def render(findings: Findings) -> str:
    """The card: the same text for the same results."""
    front = yaml.safe_dump(_front(findings), sort_keys=False, allow_unicode=True, width=1_000_000)
    return f"---\n{front}---\n\n" + "\n".join(_body(findings)) + "\n"


def _front(findings: Findings) -> dict[str, Any]:
    """What the hub reads."""
    params, metrics = findings.params, findings.metrics
    test = {name: found for name, found in metrics["test"].items() if found["value"] is not None}
    level, digits = metrics["confidence_level"], places(metrics)
    dataset = {"name": params.data.source, "type": params.data.source, "split": "test"}
    if (revision := findings.digests.get(project.PREPARED.as_posix())) is not None:
        dataset["revision"] = revision
    tag = tasks.find(params.task).pipeline_tag
    front: dict[str, Any] = {"library_name": "transformers"}
    if tag is not None:
        front["pipeline_tag"] = tag
    if params.model.model_name_or_path is not None:
        front["base_model"] = params.model.model_name_or_path
    front |= {
        "tags": ["reprise", params.task],
        "datasets": [params.data.source],
        "metrics": [_OF_HUB.get(name, name) for name in test],
    }
    front["model-index"] = [
        {
            "name": _name(params),
            "results": [
                {
                    "task": {"type": tag or params.task},
                    "dataset": dataset,
                    "metrics": [
                        {
                            "type": _OF_HUB.get(name, name),
                            "name": f"{name}{_bounds(found, level, digits[name])}",
                            "value": found["value"],
                        }
                        for name, found in test.items()
                    ],
                }
            ],
        }
    ]
    return front


def _body(findings: Findings) -> Iterator[str]:
    params, metrics = findings.params, findings.metrics
    yield from (f"# {_name(params)}", "", headline(metrics), "")
    yield from ("## What it does", "", f"It does {params.task.replace('-', ' ')}: {_what_it_takes(findings)}.", "")
    if findings.audit["splits"]["train"]["labels"]:
        yield from ("The labels are:", "", *_labels(findings), "")
    yield from (
        "## How to use it",
        "",
        "```sh",
        "reprise predict PATH --input rows.jsonl --output answers.jsonl",
        "```",
        "",
    )
    yield from (f"A row has {', '.join(findings.columns)}.", "")
    yield from ("## Scores", "", f"On {metrics['rows']['test']:,} test rows, which it was not trained on.", "")
    yield from (*_scores(metrics), "")
    yield from ("## Training", "", *_training(findings), "")
    yield from ("## What to mind", "", *_limits(findings), "")


def _name(params: Params) -> str:
    model = params.model.model_name_or_path
    kind = PurePosixPath(model).name if model is not None else (params.model.config or {})["model_type"]
    return f"{kind} on {PurePosixPath(params.data.source).name}"


def _what_it_takes(findings: Findings) -> str:
    params = findings.params
    return f"it reads {', '.join(findings.columns)}, at most {params.tokenizer.max_seq_length} tokens of a row"


def _labels(findings: Findings) -> Iterator[str]:
    shown = findings.audit["splits"]["train"]["labels"]
    for name in list(shown)[:_MOST_LABELS]:
        yield f"- {_cell(shortened(name, _LONGEST_LABEL))} ({shown[name]['rows']:,} training rows)"
    if len(shown) > _MOST_LABELS:
        yield f"- and {len(shown) - _MOST_LABELS:,} more"


def _scores(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The model and its baselines, the strongest first."""
    level, digits = metrics["confidence_level"], places(metrics)
    yield "| | " + " | ".join(metrics["test"]) + " |"
    yield "|---|" + "---|" * len(metrics["test"])
    best = strongest(metrics)
    named = {"this model": metrics["test"]}
    named |= {name: metrics["baselines"][name] for name in sorted(metrics["baselines"], key=lambda name: name != best)}
    for name, scores in named.items():
        cells = [_score(scores.get(score), level, digits[score]) for score in metrics["test"]]
        yield f"| {_cell(name)} | " + " | ".join(cells) + " |"


def _score(found: Mapping[str, float | None] | None, level: float, digits: int) -> str:
    if found is None:
        return "–"
    return f"{number(found['value'], digits)}{_bounds(found, level, digits)}"


def _bounds(found: Mapping[str, float | None], level: float, digits: int) -> str:
    if found["low"] is None:
        return ""
    return f" ({level * 100:g}% interval {number(found['low'], digits)} to {number(found['high'], digits)})"


def _training(findings: Findings) -> Iterator[str]:
    params, train = findings.params, findings.params.train
    model = params.model.model_name_or_path or f"{(params.model.config or {})['model_type']}, from scratch"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    facts = {
        "model": model,
        "data": params.data.source,
        "training rows": f"{findings.audit['splits']['train']['rows']:,}",
        "steps": f"{findings.training['steps']:,}, of which step {findings.training['best_step']:,} was best",
        "examples a step": f"{train.global_batch_size:,}",
        "learning rate": f"{train.learning_rate:g}, {train.lr_scheduler_type}",
        "precision, seed": f"{train.precision}, {train.seed}",
        "versions": versions,
        **{f"SHA-256 of {path}": digest for path, digest in findings.digests.items()},
    }
    yield from ("| | |", "|---|---|")
    for name, value in facts.items():
        yield f"| {name} | {_cell(str(value))} |"


def _limits(findings: Findings) -> Iterator[str]:
    yield (
        "- The scores hold for rows like the test rows. "
        "Texts from elsewhere, or from another time, may be answered less well."
    )
    cut = findings.truncation["test"]
    if cut["rows_cut"]:
        yield f"- {cut['rows_cut']:,} of {cut['rows']:,} test rows were longer than it reads."
    yield "- The license and the languages of the data are not known to the pipeline: say them before you publish."


def _cell(text: str) -> str:
    """Text that Markdown takes as it is, in a table, too."""
    return "".join(f"\\{sign}" if sign in "\\|*_`<>[]#" else sign for sign in text)
