"""The section `model`, and the section `lora` in it."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.params.section import Section
from pipeline.params.values import DottedName, JsonValue, Names, Number


class Lora(Section):
    """Low-rank adapters, as peft's LoraConfig spells them, with its defaults."""

    r: int = Field(8, ge=1, description="the rank of the update of each adapted weight")
    lora_alpha: int = Field(8, ge=1, description="the update is scaled by lora_alpha / r")
    lora_dropout: Number = Field(0.0, ge=0, lt=1, description="dropout before an adapter")
    target_modules: Names | None = Field(
        None,
        min_length=1,
        description="the ends of the names of the layers to adapt, or all-linear; null: what peft adapts in such a "
        "model, and all-linear where it has no opinion",
    )
    bias: Literal["none", "all", "lora_only"] = Field("none", description="the biases that train, too")
    modules_to_save: Names | None = Field(
        None, description="layers that train whole, beside the head and what is drawn anew, which always do"
    )


class Model(Section):
    """Which model is trained."""

    model_name_or_path: str | None = Field(
        None,
        min_length=1,
        description="a pretrained model: a folder (data/models/...) or a hub name; null trains from scratch",
    )
    model_revision: str | None = Field(None, description="the commit or tag of a hub model; set it to be reproducible")
    config: dict[str, JsonValue] | None = Field(
        {
            "model_type": "modernbert",
            "hidden_size": 96,
            "intermediate_size": 128,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "classifier_pooling": "mean",
            "embedding_dropout": 0.4,
            "mlp_dropout": 0.1,
            "classifier_dropout": 0.3,
        },
        description="a model from scratch: model_type, and any value of that model's transformers configuration",
    )
    class_: DottedName | None = Field(
        None,
        alias="class",
        description="a transformers model class of your own, such as mypackage.models.Pooled; null: the task's",
    )
    lora: Lora | None = Field(
        None,
        description="train low-rank adapters of a pretrained model alone: r, lora_alpha, lora_dropout, target_modules, "
        "bias, modules_to_save, as peft's LoraConfig; null trains all of it",
    )
    freeze: Names | None = Field(
        None, min_length=1, description="parts that do not train, such as [embeddings, encoder.layer.0]; null: none"
    )
    load_in_4bit: bool = Field(
        False, description="hold the pretrained weights in 4 bits (bitsandbytes, on a GPU); needs lora"
    )

    @field_validator("config")
    @classmethod
    def _has_a_type(cls, config: dict[str, Any] | None) -> dict[str, Any] | None:
        if config is not None and not isinstance(config.get("model_type"), str):
            raise ValueError("it needs a model_type that is a text, such as bert or modernbert")
        return config

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.model_name_or_path is None) == (self.config is None):
            raise ValueError("set either model_name_or_path or config, and the other to null")
        return self

    @model_validator(mode="after")
    def _what_trains(self) -> Self:
        if self.lora is not None and self.model_name_or_path is None:
            raise ValueError("lora adapts a pretrained model; set model_name_or_path, or set lora to null")
        if self.lora is not None and self.freeze is not None:
            raise ValueError("lora already freezes all but its adapters and the head; set freeze to null")
        if self.load_in_4bit and self.lora is None:
            raise ValueError("weights of 4 bits cannot be trained; set lora, or set load_in_4bit to false")
        return self
