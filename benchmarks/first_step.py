"""transformers' Trainer with MLflow up to the end of its first step: the peer of `benchmarks.start_up`.

It prints, as JSON, the time at which the step ended, in seconds since 1970. It runs where the peers are installed and
imports nothing of this project.
"""

import json
import time
from pathlib import Path
from typing import Any

import transformers
from datasets import load_dataset
from transformers import AutoConfig, AutoTokenizer, Trainer, TrainerCallback, TrainingArguments

_LABELS = 2


class _End(TrainerCallback):  # type: ignore[misc]
    """Notes when the first step has ended."""

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ended = time.time()


def main() -> None:
    """Train for one step in this folder, as stage train of it does."""
    tokenizer = AutoTokenizer.from_pretrained("data/tokenized/tokenizer")
    settings = json.loads(Path("config.json").read_text(encoding="utf-8"))
    config = AutoConfig.for_model(**settings, vocab_size=len(tokenizer), num_labels=_LABELS)
    rows = load_dataset("parquet", data_files="data/prepared/train.parquet", split="train", cache_dir="cache")
    rows = rows.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=64), batched=True)
    arguments = TrainingArguments(
        output_dir="trainer", max_steps=1, per_device_train_batch_size=8, save_strategy="no", report_to="mlflow"
    )
    end = _End()
    Trainer(
        transformers.AutoModelForSequenceClassification.from_config(config),
        arguments,
        train_dataset=rows.select_columns(["input_ids", "attention_mask", "label"]),
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
        callbacks=[end],
    ).train()
    print(json.dumps({"ended": end.ended}))


if __name__ == "__main__":
    main()
