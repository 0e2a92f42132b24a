"""The section `tokenizer`."""

from typing import Literal

from pydantic import Field

from pipeline.params.section import Section


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
    do_lower_case: bool | None = Field(
        None,
        description="fold case in a tokenizer that is trained here; null: where a task judges texts as a whole",
    )
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
