"""The section `train`."""

from typing import Literal

from pydantic import Field

from pipeline.params.section import Section
from pipeline.params.values import MAX_SEED, ClassWeights, Number, Steps


class Train(Section):
    """How it is trained: what a step sees and what it minimises."""

    seed: int = Field(
        42, ge=0, le=MAX_SEED, description="draws the first weights, the order of the rows and the dropout"
    )
    global_batch_size: int = Field(64, ge=1, description="examples a step, however they are cut and spread")
    num_train_epochs: Number = Field(3.0, gt=0, description="passes over the training rows")
    max_steps: int | None = Field(None, ge=1, description="stop after so many steps instead")
    learning_rate: Number = Field(
        3e-3,
        gt=0,
        description="the highest; about 2e-5 to 5e-5 for a pretrained model, 2e-4 for a small one, 1e-6 for dpo",
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="how it falls after the warm-up: linear, cosine or constant"
    )
    warmup_steps: Steps = Field(0.1, ge=0, description="steps of warm-up; below 1 a fraction of all steps")
    weight_decay: Number = Field(0.01, ge=0, description="AdamW's decay; biases and norms are spared")
    adam_beta1: Number = Field(0.9, ge=0, lt=1, description="AdamW's first moment")
    adam_beta2: Number = Field(0.999, ge=0, lt=1, description="AdamW's second moment")
    adam_epsilon: Number = Field(1e-8, gt=0, description="AdamW's epsilon")
    max_grad_norm: Number | None = Field(1.0, gt=0, description="longer gradients are cut to this norm; null never")
    label_smoothing_factor: Number = Field(0.0, ge=0, lt=1, description="share of each target given to all labels")
    mlm_probability: Number = Field(
        0.15, gt=0, lt=1, description="masked-lm: the share of tokens to find again in training; 0.15 in evaluation"
    )
    class_weights: ClassWeights = Field(
        None, description="of classification: balanced, or weights by label, such as {rare: 2.0}; others weigh 1"
    )
    beta: Number = Field(
        0.1, gt=0, description="dpo: how dear it is to leave the model that training began with; less strays further"
    )
    nan_policy: Literal["raise", "skip"] = Field(
        "raise", description="a step whose loss or gradient is not finite: raise ends the run, skip leaves the step out"
    )
    max_skipped_steps: int = Field(10, ge=0, description="steps that may be left out before the run ends all the same")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="fp32, bf16 (autocast) or fp16 (autocast and loss scaling)"
    )
    eval_steps: int | None = Field(None, ge=1, description="steps between evaluations; null once an epoch")
    logging_steps: int = Field(10, ge=1, description="steps between points of the learning curve")
    metric_for_best_model: str | None = Field(
        None,
        description="validation score that picks the best model; or loss; or a metric of your own (evaluate.metrics); "
        "null: the task's first",
    )
    early_stopping_patience: int | None = Field(
        None, ge=1, description="stop after so many evaluations without a better score; null never"
    )

    @property
    def own_metric(self) -> str | None:
        """The dotted name of the metric of the user's own that picks the best model, if one does."""
        named = self.metric_for_best_model
        return named if named is not None and "." in named else None
