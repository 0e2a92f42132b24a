"""What a report shows of entities beside their scores."""

from collections.abc import Sequence

from pipeline.metrics.entities import by_type, entities
from pipeline.views import Column, Table


def per_type(actual: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Table:
    """Precision, recall and F1 of each type.

    Args:
        actual: the tags of the words of each row.
        predicted: likewise.
    """
    return Table(
        "entities",
        "Entities by type",
        "An entity is right if its type, its first and its last word are.",
        [Column(title) for title in ("Type", "Precision", "Recall", "F1", "Entities")],
        [tuple(found) for found in by_type(actual, predicted)],
    )


def wrong_rows(
    ids: Sequence[str],
    words: Sequence[Sequence[str]],
    actual: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
) -> Table:
    """These rows, with their entities and those that were found."""
    return Table(
        "wrong_rows",
        "Rows with wrong entities",
        "Those first whose tags the model held for least likely, over all words of a row.",
        [Column("Row"), *(Column(title, is_text=True) for title in ("Text", "Entities", "Found"))],
        [
            (row_id, " ".join(its), _in_words(its, tags), _in_words(its, found))
            for row_id, its, tags, found in zip(ids, words, actual, predicted, strict=True)
        ],
    )


def _in_words(words: Sequence[str], tags: Sequence[str]) -> str:
    return (
        "; ".join(f"{found.type}: {' '.join(words[found.first : found.last + 1])}" for found in entities(tags)) or "–"
    )
