"""The section `hardware`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.params.section import Section

# Tokens of a forward and backward where nobody says otherwise.
_MICRO_BATCH_TOKENS = 1024


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
        description="tokens of one forward and backward; fewer need less memory; auto fills the GPU's",
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
