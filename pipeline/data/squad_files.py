"""SQuAD's JSON: articles with paragraphs with questions, as one object; each question becomes a row.

Paper: Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (EMNLP 2016); questions without
an answer came with Rajpurkar et al., "Know What You Don't Know" (ACL 2018).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.data import rows
from pipeline.errors import UserError


def is_squad(articles: list[Any]) -> bool:
    """Whether the objects of a JSON file are SQuAD's articles."""
    return "paragraphs" in articles[0]


def questions(path: Path, articles: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The id of each question, and its `title`, `context`, `question` and `answers` {text, answer_start}.

    A question that `is_impossible` has no answers, whatever is listed as plausible.

    Raises:
        UserError: a key is missing, or a value is of another kind.
    """
    for number, article in enumerate(articles):
        above = f"{path}, data[{number}]"
        title = article.get("title", "") if isinstance(article, dict) else ""
        for place, paragraph in enumerate(_value(article, "paragraphs", list, above)):
            within = f"{above}.paragraphs[{place}]"
            context = _value(paragraph, "context", str, within)
            for at, asked in enumerate(_value(paragraph, "qas", list, within)):
                name = _value(asked, "id", str | int, f"{within}.qas[{at}]")
                where = f"{path}, question {name}"
                answers = [] if asked.get("is_impossible") is True else _value(asked, "answers", list, where)
                yield (
                    str(name),
                    {
                        "title": title,
                        "context": context,
                        "question": _value(asked, "question", str, where),
                        "answers": {
                            "text": [_value(answer, "text", str, where) for answer in answers],
                            "answer_start": [_value(answer, "answer_start", int, where) for answer in answers],
                        },
                    },
                )


def _value(owner: Any, key: str, kind: Any, where: str) -> Any:
    """The value of a key of an object, if it is of this kind."""
    if not isinstance(owner, dict):
        raise UserError(f"{where}: {rows.shown(owner)}, where an object with '{key}' is due, as in SQuAD's files")
    if key not in owner:
        raise UserError(f"{where}: has no '{key}', as SQuAD's files have; its keys are {', '.join(owner) or 'none'}")
    if not isinstance(owner[key], kind):
        raise UserError(f"{where}: '{key}' is {rows.shown(owner[key])}, which is not what SQuAD's files have there")
    return owner[key]
