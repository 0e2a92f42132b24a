"""params.yaml as typed, strict models: one class a section, and every key with its meaning.

Keys are spelled as transformers' TrainingArguments and example scripts spell them. The descriptions are
written once, here: they become the comments of params.yaml and the JSON Schema that editors complete from.
`hardware`, `tracking` and `promotion` are no part of the experiment: changing them retrains nothing.
"""

import json
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from pipeline.scores import is_share

OUTSIDE_THE_EXPERIMENT = ("hardware", "tracking", "promotion")

# YAML 1.1 reads 1e-4 (no dot) as a string, YAML 1.2, which DVC writes, as a number. Both are meant as one.
_EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")

# Padded tokens of a forward and backward where nobody says otherwise.
_MICRO_BATCH_TOKENS = 1024

# What NumPy's and scikit-learn's generators take, too.
_MAX_SEED = 2**32 - 1


def _number(value: object) -> object:
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


def _list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _files(value: object) -> object:
    # Said here, because a union explains itself once for each of its types.
    names = [value] if isinstance(value, str) else value if isinstance(value, list) and len(value) > 1 else [None]
    if value is not None and not all(isinstance(name, str) for name in names):
        raise PydanticCustomError("files", "the name of a file, or a list of two or more names")
    return value


def _steps(value: float) -> float:
    if value >= 1 and not value.is_integer():
        raise PydanticCustomError("steps", "a whole number of steps, or below 1 a fraction of all steps")
    return value


def _dotted(value: str) -> str:
    if "." not in value or not all(part.isidentifier() for part in value.split(".")):
        raise PydanticCustomError("dotted", "a dotted name, such as mypackage.module.name")
    return value


def _weights(value: object) -> object:
    if value is None or value == "balanced":
        return value
    if not isinstance(value, dict) or not value:
        raise ValueError("it can be null, balanced, or weights by label, such as {rare: 2.0}")
    # YAML reads a label such as 0 as a number.
    weights = {str(label) if type(label) is int else label: _number(weight) for label, weight in value.items()}
    for label, weight in weights.items():
        if not isinstance(label, str):
            raise ValueError(f"the label {label!r} must be text; put it in quotes")
        if isinstance(weight, bool) or not (isinstance(weight, int | float) and 0 < weight < float("inf")):
            raise ValueError(f"the weight of '{label}' must be a number above 0")
    return weights


def _json(value: object) -> object:
    # YAML knows dates, bytes, endless numbers and mappings that hold themselves; a model's config.json does not.
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise PydanticCustomError("json", "text, a finite number, true, false, null, or a list of these") from None
    return value


Number = Annotated[float, BeforeValidator(_number)]
Names = Annotated[list[str], BeforeValidator(_list)]
Files = Annotated[str | Annotated[list[str], Field(min_length=2)] | None, BeforeValidator(_files)]
DottedName = Annotated[str, AfterValidator(_dotted)]
ClassWeights = Annotated[Literal["balanced"] | dict[str, float] | None, BeforeValidator(_weights)]
JsonValue = Annotated[Any, AfterValidator(_json)]


class Section(BaseModel):
    """A section of params.yaml: an unknown key, or a value of another type, is an error."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        serialize_by_alias=True,
    )

    @classmethod
    def spelled(cls) -> dict[str, FieldInfo]:
        """Its fields by their keys in params.yaml, one of which Python would not have as a name."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}


class Data(Section):
    """Where the rows come from."""

    dataset_name: str | None = Field(
        "docstrings",
        description="docstrings (built in), or a dataset of the Hugging Face hub; null when train_file is set",
    )
    dataset_config_name: str | None = Field(
        None, description="the configuration of a hub dataset; a view of docstrings, such as entities or questions"
    )
    revision: str | None = Field(None, description="the commit or tag of a hub dataset; set it to be reproducible")
    train_file: Files = Field(
        None,
        description="a file below data/raw/: .csv .tsv .json .jsonl .parquet .txt .conll, also .gz; a folder saved by "
        "datasets; or a list of aligned texts",
    )
    validation_file: Files = Field(None, description="likewise; null cuts it from the training rows")
    test_file: Files = Field(None, description="likewise; null cuts it from the training rows")
    file_format: Literal["csv", "tsv", "json", "parquet", "text", "conll"] | None = Field(
        None, description="of the files: csv, tsv, json, parquet, text or conll; null goes by the ending of their names"
    )
    sample_by: Literal["line", "paragraph", "document"] = Field(
        "line", description="what a row of a .txt file is: a line, a paragraph or the whole document"
    )
    column_names: Names | None = Field(None, description="the names of all columns, for a file without a header")
    text_column_names: Names | None = Field(
        None,
        min_length=1,
        description="the columns that the model reads; null: the task's own, such as text, or sentence1 and sentence2",
    )
    label_column_name: str | None = Field(
        None, description="the column that it is to say; null: the task's own, such as label"
    )
    source_prefix: str | None = Field(
        None, description="what stands before every text that it reads (seq2seq), such as 'summarize: ' for T5"
    )
    validation_split_percentage: int = Field(
        10, ge=1, le=50, description="percent of the rows, where no validation split is given"
    )
    test_split_percentage: int = Field(10, ge=1, le=50, description="percent of the rows, where no test split is given")
    split_seed: int = Field(
        42, ge=0, le=_MAX_SEED, description="which rows are cut off; the same seed cuts the same rows"
    )
    decontaminate_train: bool = Field(
        True, description="remove rows from training whose text is also in validation or test (they are counted)"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.dataset_name is None) == (self.train_file is None):
            raise ValueError("set either dataset_name or train_file, and the other to null")
        if self.dataset_name is not None and (self.validation_file or self.test_file):
            raise ValueError("validation_file and test_file go with train_file; set dataset_name to null")
        if self.dataset_name is not None and self.column_names:
            raise ValueError("column_names are for a train_file without a header; set them to null")
        lists = {type(files) for split in ("train", "validation", "test") if (files := getattr(self, f"{split}_file"))}
        if len(lists) > 1:
            raise ValueError("aligned texts are a list of files in each of train_file, validation_file and test_file")
        if list in lists and (self.file_format not in (None, "text") or self.sample_by != "line"):
            raise ValueError("a list of files is aligned texts: a row is a line of each; leave file_format at null")
        return self

    @model_validator(mode="after")
    def _columns_and_shares(self) -> Self:
        texts = self.text_column_names or []
        if self.label_column_name in texts:
            raise ValueError(f"label_column_name '{self.label_column_name}' is one of text_column_names, too")
        if twice := [name for place, name in enumerate(texts) if name in texts[:place]]:
            raise ValueError(f"text_column_names names '{twice[0]}' twice")
        if self.validation_split_percentage + self.test_split_percentage > 90:
            raise ValueError("validation_split_percentage and test_split_percentage leave under 10% for training")
        return self

    @property
    def source(self) -> str:
        """The files or the dataset that the rows come from."""
        return ", ".join(self.files("train")) or self.dataset_name or ""

    def files(self, split: str) -> list[str]:
        """The files of a split: none, one, or those of aligned texts."""
        named: str | list[str] | None = getattr(self, f"{split}_file")
        return [named] if isinstance(named, str) else named or []


class Tokenizer(Section):
    """How text becomes tokens."""

    tokenizer_name: str | None = Field(
        None,
        min_length=1,
        description="a folder or hub name; null takes the model's own, or trains one when there is no model",
    )
    tokenizer_revision: str | None = Field(None, description="the commit or tag of a hub tokenizer")
    tokenizer_type: Literal["bpe", "wordpiece", "unigram"] = Field(
        "bpe",
        description="of a tokenizer that is trained here: bpe (on bytes: no unknown tokens), wordpiece or unigram",
    )
    vocab_size: int = Field(16000, ge=300, le=500_000, description="tokens of a tokenizer that is trained here")
    do_lower_case: bool = Field(True, description="fold case in a tokenizer that is trained here")
    max_seq_length: int = Field(64, ge=4, le=1_000_000, description="the most tokens of an example")
    max_target_length: int = Field(
        64, ge=2, le=1_000_000, description="the most tokens of a text that it learns to write (seq2seq)"
    )
    over_length: Literal["truncate", "drop", "raise", "window"] | None = Field(
        None,
        description="longer rows: truncate (counted), drop (from training), raise (an error), window (many examples); "
        "null: the task's own way",
    )
    doc_stride: int = Field(
        16, ge=0, description="tokens that neighbouring windows of a long row share, at most half of them"
    )


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


class Train(Section):
    """How it is trained: what a step sees and what it minimises."""

    seed: int = Field(
        42, ge=0, le=_MAX_SEED, description="draws the first weights, the order of the rows and the dropout"
    )
    global_batch_size: int = Field(64, ge=1, description="examples a step, however they are cut and spread")
    num_train_epochs: Number = Field(3.0, gt=0, description="passes over the training rows")
    max_steps: int | None = Field(None, ge=1, description="stop after so many steps instead")
    learning_rate: Number = Field(
        3e-3, gt=0, description="the highest; about 2e-5 to 5e-5 for a pretrained model, 2e-4 for a small one"
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="how it falls after the warm-up: linear, cosine or constant"
    )
    warmup_steps: Annotated[Number, AfterValidator(_steps)] = Field(
        0.1, ge=0, description="steps of warm-up; below 1 a fraction of all steps"
    )
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


class Evaluate(Section):
    """How the best model is judged."""

    metrics: Annotated[list[DottedName], BeforeValidator(_list)] = Field(
        [], description="more scores: functions of your own that take predictions, such as mypackage.metrics.cost_error"
    )

    confidence_level: Number = Field(0.95, gt=0, lt=1, description="of every interval")
    n_resamples: int = Field(1000, ge=100, le=100_000, description="bootstrap resamples behind an interval")
    n_mistakes: int = Field(20, ge=0, le=1000, description="most confident mistakes shown in the report")
    num_beams: int = Field(1, ge=1, le=100, description="beams that a text is searched with; 1 is greedy")
    max_new_tokens: int = Field(64, ge=1, le=100_000, description="the most tokens of a text that the model writes")
    slices: Names = Field(
        ["label", "length"], description="groups of rows scored on their own: label, length (tokens), any raw column"
    )
    publish_texts: Literal["none", "local", "mlflow"] = Field(
        "local", description="where texts of rows may stand: none, local (the report here), or mlflow, too"
    )


class Hardware(Section):
    """What it runs on. Changing this retrains nothing."""

    use_cpu: bool = Field(False, description="true keeps off a GPU that is there")
    num_threads: int = Field(
        1, ge=1, le=1024, description="threads a process; explicit, since it changes the last bits"
    )
    devices: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = Field(
        "auto", description="processes, one a device: auto takes all GPUs that it sees, or one process on a CPU"
    )
    parallel: Literal["auto", "ddp", "fsdp"] = Field(
        "auto", description="ddp: every process holds the model; fsdp: a shard of it; auto: fsdp if it does not fit"
    )
    reduce: Literal["fast", "exact"] = Field(
        "fast", description="exact: the same bits on 1, 2, 4, ... processes, for more time; fast: the same but rounding"
    )
    deterministic: bool = Field(True, description="algorithms that give the same bits on every run; false is faster")
    micro_batch_tokens: Literal["auto"] | Annotated[int, Field(ge=16)] = Field(
        _MICRO_BATCH_TOKENS,
        description="padded tokens of one forward and backward; fewer need less memory; auto fills the GPU's",
    )
    gradient_checkpointing: bool = Field(False, description="recompute activations: less memory, slower")
    save_steps: int = Field(200, ge=1, description="steps between checkpoints, from which a killed run goes on")
    save_total_limit: int = Field(2, ge=1, description="checkpoints kept; none once DVC has recorded the model")
    checkpoint_dir: str | None = Field(None, description="where checkpoints lie; null: .reprise/ of the project")

    @model_validator(mode="after")
    def _exact_fits_the_rest(self) -> Self:
        if self.reduce == "exact" and self.micro_batch_tokens == "auto":
            raise ValueError("reduce: exact needs micro_batch_tokens as a number: bits depend on how a step is cut")
        if self.reduce == "exact" and self.parallel == "fsdp":
            raise ValueError("reduce: exact needs the whole model in every process; set parallel to ddp or auto")
        return self

    @property
    def forward_tokens(self) -> int:
        """Padded tokens of a forward pass without gradients, whose scores shall not depend on the memory at hand."""
        return _MICRO_BATCH_TOKENS if self.micro_batch_tokens == "auto" else self.micro_batch_tokens


class Tracking(Section):
    """What MLflow is told. Changing this retrains nothing."""

    experiment_name: str = Field("reprise", min_length=1, description="the MLflow experiment")
    run_name: str | None = Field(None, description="the MLflow run; null makes a telling one")
    tags: dict[str, str] = Field({}, description="tags of the run, name: value")
    log_model: bool = Field(True, description="keep the best model in MLflow, too")
    registered_model_name: str | None = Field(
        None, min_length=1, description="its name in MLflow's registry; null: as the experiment"
    )

    @field_validator("registered_model_name")
    @classmethod
    def _fits_into_addresses(cls, name: str | None) -> str | None:
        if name is not None and re.search(r'[/:@"]', name):
            raise ValueError("it cannot hold / : @ or a double quote, which end a model's name elsewhere")
        return name

    @property
    def model(self) -> str:
        """The name of the registered model; MLflow refuses some signs that an experiment's name may have."""
        return self.registered_model_name or re.sub(r'[/:@"]', "-", self.experiment_name)


class Promotion(Section):
    """When a model may replace the champion. Changing this retrains nothing."""

    metric: str | None = Field(None, description="the test score that decides; null: the task's first")
    required: Literal["better", "non-inferior"] = Field(
        "better", description="than the champion by more than noise; or not worse by more than the margin"
    )
    margin: Number | None = Field(
        None,
        gt=0,
        description="of non-inferior: how far behind the best champion that was on these test rows; null: 0.01 of a "
        "score that ends at 1, and of any other none",
    )
    floors: dict[str, Number] = Field(
        {}, description="score: the worst that it may be, such as {accuracy: 0.8} or {perplexity: 30}"
    )
    guarded: dict[str, Number] = Field(
        {},
        description="score, or score on slice: how much it may fall, such as {mcc: 0.02, accuracy on length: 0.05}",
    )
    on_uncertain: Literal["reject", "accept"] = Field(
        "reject", description="what becomes of a model for which the rows are too few to tell: reject or accept"
    )
    confidence_level: Number = Field(0.95, gt=0.5, lt=1, description="of every one-sided bound")

    @field_validator("floors")
    @classmethod
    def _can_be_reached(cls, floors: dict[str, float]) -> dict[str, float]:
        for name, floor in floors.items():
            if floor > 1 and is_share(name):
                raise ValueError(f"the floor of '{name}' is {floor:g}, and it is never above 1: 80% is 0.8")
        return floors

    @field_validator("guarded")
    @classmethod
    def _may_fall(cls, margins: dict[str, float]) -> dict[str, float]:
        for name, margin in margins.items():
            if margin <= 0 or (margin >= 1 and is_share(name.partition(" on ")[0])):
                raise ValueError(
                    f"the margin of '{name}' must be above 0, since no rows can show a fall of nothing, and below "
                    "1 for a score that ends there"
                )
        return margins


class Params(Section):
    """All of params.yaml."""

    version: Literal[1] = Field(1, description="of this file's format")
    task: str = Field("text-classification", description="what is learned")
    data: Data = Field(default_factory=Data)
    tokenizer: Tokenizer = Field(default_factory=Tokenizer)
    model: Model = Field(default_factory=Model)
    train: Train = Field(default_factory=Train)
    evaluate: Evaluate = Field(default_factory=Evaluate)
    hardware: Hardware = Field(default_factory=Hardware)
    tracking: Tracking = Field(default_factory=Tracking)
    promotion: Promotion = Field(default_factory=Promotion)

    def experiment(self) -> dict[str, Any]:
        """What defines the experiment: every section but `hardware`, `tracking` and `promotion`, as JSON values."""
        return self.model_dump(mode="json", exclude=set(OUTSIDE_THE_EXPERIMENT))
