"""transformers' Trainer on what Reprise has prepared: the peer in docs/results.md.

Run in a folder where `dvc repro tokenize` has been; needs accelerate. It takes the rows of data/prepared, the settings
of params.yaml and the model that they name, and prints the test scores as JSON; else it is as anybody would write it.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import seqeval.metrics as seqeval
import torch
import transformers
import yaml
from datasets import Dataset, DatasetDict
from sklearn import metrics
from transformers import AutoTokenizer, EvalPrediction, Trainer, TrainingArguments

SPLITS = ("train", "validation", "test")
PARAMS = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
LABELS = json.loads(Path("data/prepared/task.json").read_text(encoding="utf-8"))["labels"]
TOKENIZER = AutoTokenizer.from_pretrained(PARAMS["model"]["model_name_or_path"])
CUT = {"truncation": True, "max_length": PARAMS["tokenizer"]["max_seq_length"]}
IGNORED = -100
KEPT = ("accuracy", "f1_macro", "f1", "precision", "recall")


def classified(row: dict[str, Any]) -> dict[str, Any]:
    """The tokens of a text."""
    return dict(TOKENIZER(row["text"], **CUT))


def tagged(row: dict[str, Any]) -> dict[str, Any]:
    """The tokens of a sentence, with the tag of each word on its first token, as run_ner has it."""
    encoded = TOKENIZER(row["tokens"], is_split_into_words=True, **CUT)
    words = encoded.word_ids()
    firsts = [word is not None and word != before for before, word in zip([None, *words], words, strict=False)]
    labels = [LABELS.index(row["tags"][w]) if first else IGNORED for w, first in zip(words, firsts, strict=True)]
    return {**encoded, "labels": labels}


def class_scores(found: EvalPrediction) -> dict[str, float]:
    """Accuracy and F1 of labels."""
    said, target = found.predictions.argmax(-1), found.label_ids
    return {
        "accuracy": metrics.accuracy_score(target, said),
        "f1_macro": metrics.f1_score(target, said, average="macro"),
    }


def entity_scores(found: EvalPrediction) -> dict[str, float]:
    """F1, precision and recall of entities, as seqeval counts them."""
    asked, tags = found.label_ids != IGNORED, np.array(LABELS)
    target, said = (
        [tags[row[kept]].tolist() for row, kept in zip(ids, asked, strict=True)]
        for ids in (found.label_ids, found.predictions.argmax(-1))
    )
    scores = {"f1": seqeval.f1_score, "precision": seqeval.precision_score, "recall": seqeval.recall_score}
    return {name: float(score(target, said)) for name, score in scores.items()}


# Of each task: the model class, the collator, how a row becomes tokens, the scores.
TASKS = {
    "text-classification": ("SequenceClassification", "DataCollatorWithPadding", classified, class_scores),
    "token-classification": ("TokenClassification", "DataCollatorForTokenClassification", tagged, entity_scores),
}


def arguments(output: str) -> TrainingArguments:
    """What params.yaml says, in Trainer's words."""
    train = PARAMS["train"]
    return TrainingArguments(
        output_dir=output,
        seed=train["seed"],
        per_device_train_batch_size=train["global_batch_size"],
        num_train_epochs=train["num_train_epochs"],
        max_steps=train["max_steps"] or -1,
        learning_rate=train["learning_rate"],
        lr_scheduler_type=train["lr_scheduler_type"],
        warmup_steps=train["warmup_steps"],
        weight_decay=train["weight_decay"],
        max_grad_norm=train["max_grad_norm"],
        label_smoothing_factor=train["label_smoothing_factor"],
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model=train["metric_for_best_model"],
        greater_is_better=True,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )


def rows(encode: Any, folder: str) -> DatasetDict:
    """The rows that Reprise trains on and is judged by, with tokens."""
    found = DatasetDict(
        {split: Dataset.from_parquet(f"data/prepared/{split}.parquet", cache_dir=folder) for split in SPLITS}
    )
    return found.map(encode, remove_columns=[name for name in found["train"].column_names if name != "label"])


def main() -> dict[str, float]:
    """The test scores."""
    torch.set_num_threads(PARAMS["hardware"]["num_threads"])
    head, collator, encode, scores = TASKS[PARAMS["task"]]
    auto = getattr(transformers, f"AutoModelFor{head}")
    with tempfile.TemporaryDirectory() as output:
        splits = rows(encode, output)
        trainer = Trainer(
            model_init=lambda: auto.from_pretrained(PARAMS["model"]["model_name_or_path"], num_labels=len(LABELS)),
            args=arguments(output),
            train_dataset=splits["train"],
            eval_dataset=splits["validation"],
            processing_class=TOKENIZER,
            data_collator=getattr(transformers, collator)(TOKENIZER),
            compute_metrics=scores,
        )
        trainer.train()
        found = trainer.evaluate(splits["test"], metric_key_prefix="test")
    return {name.removeprefix("test_"): value for name, value in found.items() if name.removeprefix("test_") in KEPT}


if __name__ == "__main__":
    print(json.dumps(main()))
