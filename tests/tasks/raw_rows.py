"""Raw rows as a source has them, for each kind of task: columns made from the number of rows and a seed."""

from typing import Any

import numpy as np

from tests.conftest import WORDS, texts_and_labels


def classified(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts with one of two labels."""
    texts, labels = texts_and_labels(rows, seed)
    return {"text": texts, "label": [("bad", "good")[label] for label in labels]}


def pairs(rows: int, seed: int) -> dict[str, list[Any]]:
    """Pairs of texts, and whether both have the same label."""
    first, labels = texts_and_labels(rows, seed)
    second, others = texts_and_labels(rows, seed + 100)
    return {
        "sentence1": first,
        "sentence2": second,
        "label": np.where(labels == others, "same", "other").tolist(),
    }


def labelled_with_sets(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts with any number of three labels, none among them."""
    texts, labels = texts_and_labels(rows, seed, labels=3)
    sets = [
        [("bad", "calm", "good")[label], *["long"] * (len(text) > 50)]
        for text, label in zip(texts, labels, strict=True)
    ]
    return {"text": texts, "label": [[] if place % 7 == 0 else names for place, names in enumerate(sets)]}


def measured(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts with a number that hangs on their words."""
    texts, labels = texts_and_labels(rows, seed)
    return {"text": texts, "label": [float(label) + len(text) / 100 for text, label in zip(texts, labels, strict=True)]}


def similar(rows: int, seed: int) -> dict[str, list[Any]]:
    """Pairs of texts, and how alike they are."""
    columns = pairs(rows, seed)
    return columns | {"label": [5.0 if label == "same" else 1.0 for label in columns["label"]]}


def chosen(rows: int, seed: int) -> dict[str, list[Any]]:
    """A context, and three endings, of which one is of its kind."""
    contexts, labels = texts_and_labels(rows, seed)
    places = np.random.default_rng(seed).integers(0, 3, rows)
    columns: dict[str, list[Any]] = {"sent1": contexts, "sent2": ["It is"] * rows, "label": places.tolist()}
    for ending in range(3):
        columns[f"ending{ending}"] = [
            " ".join([("bad", "good")[label if place == ending else 1 - label]] * (1 + ending))
            for label, place in zip(labels, places, strict=True)
        ]
    return columns


def texts(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts alone, the longest of which are longer than an example."""
    return {"text": texts_and_labels(rows, seed)[0]}


def chats(rows: int, seed: int) -> dict[str, list[Any]]:
    """Conversations of two turns or four."""
    said, _ = texts_and_labels(4 * rows, seed)
    turns = [said[4 * row : 4 * row + (2 if row % 3 else 4)] for row in range(rows)]
    return {
        "messages": [
            [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
            for texts in turns
        ]
    }


def reversed_texts(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts, and their words in the other order."""
    texts, _ = texts_and_labels(rows, seed)
    return {"document": texts, "summary": [" ".join(reversed(text.split()[:6])) for text in texts]}


def translations(rows: int, seed: int) -> dict[str, list[Any]]:
    """The same, as a source of translations has it."""
    found = reversed_texts(rows, seed)
    pairs = zip(found["document"], found["summary"], strict=True)
    return {"translation": [{"en": text, "ne": backwards} for text, backwards in pairs]}


def belonging(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts, and their words in the other order, which belong to them, or the same word to each fourth."""
    texts, _ = texts_and_labels(rows, seed)
    turned = [" ".join(reversed(text.split())) for text in texts]
    return {"anchor": texts, "positive": [text if row % 4 else "good" for row, text in enumerate(turned)]}


def with_negatives(rows: int, seed: int) -> dict[str, list[Any]]:
    """The same, with a text that does not belong to each."""
    return belonging(rows, seed) | {"negative": texts_and_labels(rows, seed + 100)[0]}


def near(rows: int, seed: int) -> dict[str, list[Any]]:
    """Pairs of texts, and the share of their words that both have."""
    found = pairs(rows, seed)
    sets = [(set(one.split()), set(other.split())) for one, other in zip(*list(found.values())[:2], strict=True)]
    return found | {"label": [len(one & other) / len(one | other) for one, other in sets]}


def preferred(rows: int, seed: int) -> dict[str, list[Any]]:
    """What is asked, at times after a turn of the assistant, and two replies, of which the longer one is better."""
    said, _ = texts_and_labels(3 * rows, seed)
    roles = ["user", "assistant", "user"]
    asked = [text.split()[:4] for text in said[:rows]]
    return {
        "prompt": [
            [{"role": role, "content": word} for role, word in zip(roles[: 1 if row % 3 else 3], words, strict=False)]
            for row, words in enumerate(asked)
        ],
        "chosen": said[rows : 2 * rows],
        "rejected": [text.split()[0] for text in said[2 * rows :]],
    }


def tagged(rows: int, seed: int) -> dict[str, list[Any]]:
    """Words with tags in IOB1: those of some lists of words are entities."""
    texts, _ = texts_and_labels(rows, seed)
    kinds = {word: kind for kind, words in zip(("I-GOOD", "I-BAD"), WORDS, strict=False) for word in words}
    tokens = [text.split() for text in texts]
    return {"tokens": tokens, "ner_tags": [[kinds.get(word, "O") for word in words] for words in tokens]}


def asked(rows: int, seed: int) -> dict[str, list[Any]]:
    """A word of a text to find, by its list; every fourth question has no answer."""
    texts, _ = texts_and_labels(rows, seed)
    found: dict[str, list[Any]] = {"question": [], "context": [], "answers": []}
    for row, text in enumerate(texts):
        context = f"{text} some{row}" if row % 4 else text
        found["question"].append("which word is new?")
        found["context"].append(context)
        answer = {"text": [f"some{row}"], "answer_start": [len(text) + 1]}
        found["answers"].append(answer if row % 4 else {"text": [], "answer_start": []})
    return found


def cased(rows: int, seed: int) -> dict[str, list[Any]]:
    """Texts in which the words of one list are capitalized, and those of another in capitals."""
    written = {word: (str.capitalize, str.upper)[place](word) for place in range(2) for word in WORDS[place]}
    texts, _ = texts_and_labels(rows, seed, labels=3)
    return {"text": [" ".join(written.get(word, word) for word in text.split()) for text in texts]}
