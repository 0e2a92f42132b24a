"""Text classification with the focal loss, and with words hidden from what is trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from pipeline.errors import UserError
from pipeline.params import Train
from pipeline.tasks.base import Batch, Collation
from pipeline.tasks.text_classification import TextClassification

GAMMA = 2.0
HIDDEN = 0.1


@dataclass(frozen=True)
class FocalClassification(TextClassification):
    """Rows that are right already count less (Lin et al., ICCV 2017, https://arxiv.org/abs/1708.02002)."""

    smooths_labels: ClassVar[bool] = False

    def check_train(self, settings: Train) -> None:
        super().check_train(settings)
        if settings.class_weights is not None or settings.label_smoothing_factor:
            raise UserError(
                "params.yaml: train: the focal loss knows neither class_weights nor label_smoothing_factor.\n"
                "Set them to null and 0."
            )

    def collate(self, examples: Mapping[str, Any], collation: Collation) -> Batch:
        return super().collate(_with_hidden(examples, collation) if collation.training else examples, collation)

    def loss(self, outputs: Any, batch: Batch, settings: Train) -> torch.Tensor:
        found = outputs.logits.float().log_softmax(dim=-1).gather(-1, batch.labels[:, None])
        return -((1 - found.exp()) ** GAMMA * found).sum()


def _with_hidden(examples: Mapping[str, Any], collation: Collation) -> dict[str, Any]:
    """The examples with some tokens hidden: others in every epoch, and the same whenever it is run again."""
    tokenizer, kept = collation.tokenizer, []
    for ids, index in zip(examples["input_ids"], examples["index"], strict=True):
        draw = np.random.default_rng([collation.seed, collation.epoch, int(index)])
        hidden = (draw.random(len(ids)) < HIDDEN) & ~np.isin(ids, tokenizer.all_special_ids)
        kept.append(np.where(hidden, tokenizer.mask_token_id, ids))
    return {**examples, "input_ids": kept}


TASK = FocalClassification
