"""The section `data`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.params.section import Section
from pipeline.params.values import MAX_SEED, Files, Names


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
        42, ge=0, le=MAX_SEED, description="which rows are cut off; the same seed cuts the same rows"
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
