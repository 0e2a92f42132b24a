"""Whether an answer is one of the right ones, and how many words it shares with the nearest of them.

Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (EMNLP 2016),
https://aclanthology.org/D16-1264, section 6.1: case, punctuation, articles and white space do not count. Where a
question has no answer, only the empty one is right: Rajpurkar, Jia and Liang, "Know What You Don't Know" (ACL 2018).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_ARTICLES = re.compile(r"\b(a|an|the)\b")
# Groups of answers: the fewest words of each.
_LENGTHS = (("none", 0), ("1 word", 1), ("2 or 3 words", 2), ("4 to 7 words", 4), ("8 words or more", 8))
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(text: str) -> list[str]:
    """The words of an answer that count."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def exact_match(answer: str, right: Sequence[str]) -> float:
    """1 if the answer is one of the right ones, else 0.

    Args:
        right: none where there is no answer.
    """
    return float(words(answer) in _meant(right))


def f1(answer: str, right: Sequence[str]) -> float:
    """The F1 of the answer's words against those of the right answer that it is nearest to."""
    said = words(answer)
    return max(_overlap(said, meant) for meant in _meant(right))


def by_length(right: Sequence[Sequence[str]], *scores: np.ndarray) -> list[tuple[str | int | float, ...]]:
    """The means of scores over the rows whose first right answer has as many words: a name, the rows, the means.

    Args:
        right: the answers of every row.
        scores: each (rows,).
    """
    sizes = np.array([len(texts[0].split()) if texts else 0 for texts in right])
    found: list[tuple[str | int | float, ...]] = []
    for (name, least), (_, above) in pairwise([*_LENGTHS, ("", np.inf)]):
        chosen = (least <= sizes) & (sizes < above)
        if chosen.any():
            found.append((name, int(chosen.sum()), *(float(score[chosen].mean()) for score in scores)))
    return found


def _meant(right: Sequence[str]) -> list[list[str]]:
    """The words of the right answers; those without any count only where there is no other."""
    return [meant for meant in map(words, right) if meant] or [[]]


def _overlap(said: list[str], meant: list[str]) -> float:
    if not said or not meant:
        return float(said == meant)
    return 2 * (Counter(said) & Counter(meant)).total() / (len(said) + len(meant))
