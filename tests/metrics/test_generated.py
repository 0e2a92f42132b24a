"""Scores from sums of numbers a row are those that the packages compute of whole corpora."""

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from pipeline.metrics import generated

WORDS = "the a cat dogs sat running, on mats. of Über größe 雨 and with 3.5 it's".split()


def corpus(rows: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts that share many of their words with the references, and these."""
    draw = np.random.default_rng(seed)
    references = [" ".join(draw.choice(WORDS, draw.integers(1, 25))) for _ in range(rows)]
    texts = [" ".join(word for word in reference.split() if draw.random() < 0.8) for reference in references]
    return texts, references


def test_the_scores_of_any_rows_are_those_of_the_packages() -> None:
    texts, references = corpus(60, 0)
    texts[:3], references[5] = ["", "nothing of it", "."], ""
    found = generated.statistics(texts, references)
    rouge = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for rows in (np.arange(60), np.arange(7), np.random.default_rng(1).integers(0, 60, 60)):
        some = [texts[row] for row in rows], [references[row] for row in rows]
        ours = generated.scores({name: values[rows] for name, values in found.items()})
        assert tuple(ours) == generated.SCORES
        assert ours["bleu"] == sacrebleu.corpus_bleu(some[0], [some[1]], force=True).score
        assert ours["chrf"] == sacrebleu.corpus_chrf(some[0], [some[1]]).score
        for name in ("rouge1", "rouge2", "rougeL"):
            theirs = [rouge.score(of, text)[name].fmeasure for text, of in zip(*some, strict=True)]
            assert ours[name] == pytest.approx(np.mean(theirs), abs=1e-12)


def test_the_reference_itself_scores_best() -> None:
    _, references = corpus(20, 2)
    best = generated.scores(generated.statistics(references, references))
    assert best["bleu"] == pytest.approx(100)
    assert best["chrf"] == pytest.approx(100)
    latin = [any(letter.isascii() and letter.isalnum() for letter in text) for text in references]
    assert best["rouge1"] == pytest.approx(np.mean(latin)), "ROUGE sees no other letters"
