"""How near generated texts come to the references, by the field's own packages.

BLEU (Papineni et al., 2002, https://aclanthology.org/P02-1040) and chrF (Popović, 2015,
https://aclanthology.org/W15-3049) by sacrebleu (Post, 2018, https://arxiv.org/abs/1804.08771), from 0 to 100;
ROUGE (Lin, 2004, https://aclanthology.org/W04-1013) by rouge-score, with its stemmer, as a share. ROUGE knows words of
Latin letters and digits alone; a text in another script has none.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.data.rows import spread
from pipeline.views import Column, Table

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

_MOST_CHARACTERS = 400
_ROUGE = ("rougeL", "rouge1", "rouge2")
SCORES = ("chrf", "bleu", *_ROUGE)
"""The first one takes texts of every script, and short ones."""


def statistics(texts: Sequence[str], references: Sequence[str]) -> dict[str, np.ndarray]:
    """What the scores of any of these texts are made of.

    Returns:
        `bleu`: (texts, 10) and `chrf`: (texts, 18), the counts that sacrebleu adds up over a corpus; `rougeL`, `rouge1`
        and `rouge2`: (texts,) the F-measure of each text.
    """
    # Imported here: rouge-score stems words with nltk, whose import takes seconds.
    from rouge_score.rouge_scorer import RougeScorer

    counts = {
        name: np.array(metric._extract_corpus_statistics(texts, [references]), np.int64)
        for name, metric in _of_corpus().items()
    }
    scorer = RougeScorer(_ROUGE, use_stemmer=True)
    found = [scorer.score(reference, text) for text, reference in zip(texts, references, strict=True)]
    return counts | {name: np.array([scores[name].fmeasure for scores in found]) for name in _ROUGE}


def scores(found: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The scores of `SCORES`: of the whole corpus with sacrebleu, the mean over the texts with ROUGE.

    Args:
        found: what `statistics` gives for these texts.
    """
    sums = {
        name: float(metric._compute_score_from_stats(found[name].sum(axis=0).tolist()).score)
        for name, metric in _of_corpus().items()
    }
    means = {name: float(found[name].mean()) for name in _ROUGE}
    return {name: (sums | means)[name] for name in SCORES}


def compared(rows: pa.Table, sources: Sequence[str], found: Mapping[str, np.ndarray], most: int) -> Table:
    """Generated texts beside the references, for the report: spread evenly from the worst to the best by chrF.

    Args:
        rows: with their `id`, the reference in `target`, and the text in `generated`.
        sources: what was read of each row.
        found: what `statistics` gives for these texts.
        most: how many rows to list.
    """
    metric = _of_corpus()["chrf"]
    each = np.array([metric._compute_score_from_stats(counts).score for counts in found["chrf"].tolist()])
    chosen = np.argsort(each, kind="stable")[spread(len(each), most)]
    texts = (rows["target"].to_pylist(), rows["generated"].to_pylist(), sources)
    return Table(
        name="generations",
        title="Generated texts and references",
        lead="Test rows from the worst to the best by chrF, spread evenly over all of them.",
        columns=(
            Column("Row"),
            Column("chrF"),
            *(Column(title, is_text=True) for title in ("Reference", "Generated", "Source")),
        ),
        rows=[
            (
                str(rows["id"][row].as_py()),
                float(each[row]),
                *(shorten(column[row], _MOST_CHARACTERS) for column in texts),
            )
            for row in chosen.tolist()
        ],
    )


def replies(rows: pa.Table, asked: Sequence[str], given: Sequence[str], titles: tuple[str, str], beside: str) -> Table:
    """What the model says where it was asked to, for the report.

    Args:
        rows: with their `id`, and in `generated` the reply, or null.
        asked: what stands before each.
        given: the reply of the data.
        titles: what these two are called.
        beside: the reply of the data in words.
    """
    columns = (rows["id"].to_pylist(), asked, rows["generated"].to_pylist(), given)
    return Table(
        name="replies",
        title="What the model says",
        lead=f"Replies to test rows, spread evenly over all of them, beside {beside}.",
        columns=(
            Column("Row"),
            *(Column(title, is_text=True) for title in (titles[0], "Reply of the model", titles[1])),
        ),
        rows=[
            (str(row_id), *(shorten(text, _MOST_CHARACTERS) for text in texts))
            for row_id, *texts in zip(*columns, strict=True)
            if texts[1] is not None
        ],
    )


@cache
def _of_corpus() -> "dict[str, Metric]":
    # Imported here: who only asks a model for texts needs no scores, and a served model has no sacrebleu.
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return {"bleu": BLEU(force=True), "chrf": CHRF()}  # `force` keeps it from saying that texts look tokenized
