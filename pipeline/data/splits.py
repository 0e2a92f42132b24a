"""Cutting the splits that a source lacks off its training rows: stratified, and the same on every machine."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence

import pyarrow as pa

from pipeline import project
from pipeline.data import rows
from pipeline.errors import UserError
from pipeline.params import Data

_FEWEST_TEXTS = 3


def cut(
    splits: Mapping[str, pa.Table],
    texts: Callable[[pa.Table], Sequence[tuple[str, ...]]],
    strata: Callable[[pa.Table], Sequence[Hashable]],
    data: Data,
) -> dict[str, pa.Table]:
    """The three splits; those that are missing are cut off `train`, stratum by stratum, in the source's order.

    A row's split hangs on a hash of its texts and `data.split_seed`: the rows of a stratum (of a label, say) are sorted
    by it, test is cut off one end and validation off the other. So rows with the same texts and stratum fall together,
    and n more rows move at most about n others from one split to another. A stratum with fewer than three texts stays
    in train; any other has a row in each split. A row whose texts are in a split that is given stays in train, where
    `audit.decontaminate` finds it.

    Args:
        splits: prepared rows.
        texts: what the model reads of each row.
        strata: the group of each row.

    Raises:
        UserError: too few rows are left.
    """
    missing = [split for split in project.SPLITS if split not in splits]
    train = splits["train"]
    if not missing:
        return {split: splits[split] for split in project.SPLITS}
    percentages = {"validation": data.validation_split_percentage, "test": data.test_split_percentage}
    shares = {split: percentages[split] / 100 for split in missing}
    elsewhere = {
        key for split, table in splits.items() if split != "train" for key in _keys(texts(table), data.split_seed)
    }
    keys = _keys(texts(train), data.split_seed)
    split_of = _assign(keys, strata(train), shares, elsewhere)
    parts = {split: train.filter(pa.array([part == split for part in split_of])) for split in ("train", *missing)}
    found = {**splits, **parts}
    for split in missing:
        if not len(found[split]):
            if repeated := sum(key in elsewhere for key in keys):
                raise UserError(_repeated(splits, repeated, split, data))
            of_one = "no label has" if any(stratum is not None for stratum in strata(train)) else "there are not"
            raise UserError(
                f"{rows.source_of(train)}: {of_one} three different texts, too few to cut a {split} split off.\n"
                f"Add rows, or set data.{split}_file."
            )
    return {split: found[split] for split in project.SPLITS}


def _repeated(splits: Mapping[str, pa.Table], count: int, missing: str, data: Data) -> str:
    """Why rows that stand in another split, too, leave too few to cut one off."""
    train = splits["train"]
    (given,) = splits.keys() - {"train"}
    key = f"data.{given}_file"
    named = getattr(data, key.removeprefix("data.")) is not None
    other = f", or set {key} to null: it is then cut from the training rows" if named else ""
    return (
        f"{f'{key}: ' if named else ''}{rows.source_of(splits[given])} holds the same texts as {rows.source_of(train)} "
        f"({count:,} of its {len(train):,} rows),\n"
        f"which leaves too few to cut a {missing} split off. Give {given} rows of its own{other}."
    )


def _keys(texts: Iterable[tuple[str, ...]], seed: int) -> list[str]:
    """The places of the rows among all rows; rows with the same normalised texts share one."""
    contents = ("\0".join((str(seed), *map(rows.normalised, parts))) for parts in texts)
    return [hashlib.sha256(content.encode()).hexdigest() for content in contents]


def _assign(
    keys: Sequence[str], strata: Sequence[Hashable], shares: Mapping[str, float], elsewhere: Collection[str]
) -> list[str]:
    """The split of every row: `train`, or one of the shares; `train` for those with a key from elsewhere."""
    groups: dict[Hashable, dict[str, list[int]]] = {}
    for index, (key, stratum) in enumerate(zip(keys, strata, strict=True)):
        if key in elsewhere:
            continue
        groups.setdefault(stratum, {}).setdefault(key, []).append(index)
    split_of = ["train"] * len(keys)
    sizes = Counter(strata)
    for stratum, by_key in groups.items():
        if len(by_key) < _FEWEST_TEXTS:
            continue
        for cut_before, (split, share) in enumerate(shares.items()):
            order = sorted(by_key, reverse=split == "validation")
            others = len(shares) - cut_before  # train, and the splits that come after this one
            for key in _take(order, by_key, round(share * sizes[stratum]), len(by_key) - others):
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
