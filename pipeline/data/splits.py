"""Cutting the splits that a source lacks off its training rows: stratified, and the same on every machine."""

import hashlib
from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipeline import project
from pipeline.data import rows
from pipeline.errors import UserError
from pipeline.params import Data

_FEWEST_TEXTS = 3


def cut(splits: Mapping[str, pa.Table], data: Data) -> dict[str, pa.Table]:
    """The three splits; those that are missing are cut off `train`, label by label, in the source's order.

    A row's split hangs on a hash of its text and `data.split_seed`: the rows of a label are sorted by it, test is
    cut off one end and validation off the other. So rows with one text and label fall together, and n more rows move
    at most about n others from one split to another. A label with fewer than three texts stays in train; any other
    has a row in each split.

    Raises:
        UserError: a column is missing, a label is null or empty, a text is no text, or too few rows are left.
    """
    missing = [split for split in project.SPLITS if split not in splits]
    train = splits["train"]
    if not missing:
        return {split: splits[split] for split in project.SPLITS}
    percentages = {"validation": data.validation_split_percentage, "test": data.test_split_percentage}
    shares = {split: percentages[split] / 100 for split in missing}
    if sum(shares.values()) >= 1:
        raise UserError("data: validation_split_percentage and test_split_percentage leave no rows for training")
    texts = zip(*(rows.text_column(train, name).to_pylist() for name in data.text_column_names), strict=True)
    keys = [_key(data.split_seed, parts) for parts in texts]
    split_of = _assign(keys, rows.label_column(train, data.label_column_name), shares)
    parts = {split: train.filter(pa.array([part == split for part in split_of])) for split in ("train", *missing)}
    found = {**splits, **parts}
    for split in missing:
        if not len(found[split]):
            raise UserError(
                f"{rows.source_of(train)}: no label has three different texts, too few to cut a {split} split off.\n"
                f"Add rows, or set data.{split}_file."
            )
    return {split: found[split] for split in project.SPLITS}


def _key(seed: int, texts: Sequence[str]) -> str:
    """The place of a row among all rows; rows with the same normalised texts share it."""
    content = "\0".join((str(seed), *map(rows.normalised, texts)))
    return hashlib.sha256(content.encode()).hexdigest()


def _assign(keys: Sequence[str], labels: Sequence[str], shares: Mapping[str, float]) -> list[str]:
    """The split of every row: `train`, or one of the shares."""
    groups: dict[str, dict[str, list[int]]] = {}
    for index, (key, label) in enumerate(zip(keys, labels, strict=True)):
        groups.setdefault(label, {}).setdefault(key, []).append(index)
    split_of = ["train"] * len(keys)
    for by_key in groups.values():
        if len(by_key) < _FEWEST_TEXTS:
            continue
        size = sum(map(len, by_key.values()))
        for cut_before, (split, share) in enumerate(shares.items()):
            order = sorted(by_key, reverse=split == "validation")
            others = len(shares) - cut_before  # train, and the splits that come after this one
            for key in _take(order, by_key, round(share * size), len(by_key) - others):
                for index in by_key.pop(key):
                    split_of[index] = split
    return split_of


def _take(order: Sequence[str], groups: Mapping[str, Sequence[int]], target: int, most: int) -> list[str]:
    """The first groups that hold `target` rows together, at most `most` groups and at least one.

    A group that is larger than what is left to take is passed over, and so stays whole.
    """
    taken: list[str] = []
    total = 0
    for key in order:
        if total + len(groups[key]) <= target and len(taken) < most:
            taken.append(key)
            total += len(groups[key])
    return taken or [min(order, key=lambda key: len(groups[key]))]
