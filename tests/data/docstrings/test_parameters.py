import pytest

from pipeline.data.docstrings import parameters
from tests.data.docstrings.conftest import Documents

SOURCE = '''
def first(axis, name):
    """Sum up.

    Parameters
    ----------
    axis : {int, None}, default None
        The axis of ``name``. Others stay.
    name : str, optional
        What it is called.
        Defaults to 'x y'.
    """


def second(seed):
    """Draw a number from `name`.

    Parameters
    ----------
    seed : int
        The seed.

    Returns
    -------
    number : float
        The number.
    """


def third(text):
    """Has no parameters that are described."""


def fourth(a):
    """Long.

    Parameters
    ----------
    a : int
        LONG
    """
'''.replace("LONG", "word " * 500)


def marked(row: dict[str, list[str]]) -> str:
    tags = zip(row["tokens"], row["ner_tags"], strict=True)
    return " ".join(token if tag == "O" else f"{token}/{tag}" for token, tag in tags)


def test_names_types_and_defaults_are_entities_in_iob2(documented: Documents) -> None:
    rows = list(parameters.entities(documented(SOURCE)))
    assert [row["id"] for row in rows] == [f"alpha_package/code.py:{line}" for line in (7, 9, 20, 39)]
    assert marked(rows[0]) == (
        "axis/B-PARAM : {/B-TYPE int/I-TYPE ,/I-TYPE None/I-TYPE }/I-TYPE , default None/B-DEFAULT "
        "The axis of `` name/B-PARAM `` . Others stay ."
    )
    assert marked(rows[1]) == (
        "name/B-PARAM : str/B-TYPE , optional What it is called . Defaults to '/B-DEFAULT x/I-DEFAULT y/I-DEFAULT "
        "'/I-DEFAULT ."
    )


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("a : int, optional (default=-1.5e-3)", "a/B-PARAM : int/B-TYPE , optional ( default = -1.5e-3/B-DEFAULT )"),
        ("a : float, default: np.inf", "a/B-PARAM : float/B-TYPE , default : np.inf/B-DEFAULT"),
        (
            "a : str, default is ``'x'``",
            "a/B-PARAM : str/B-TYPE , default is `` '/B-DEFAULT x/I-DEFAULT '/I-DEFAULT ``",
        ),
        ("a, *b : bool", "a/B-PARAM , * b/B-PARAM : bool/B-TYPE"),
        (
            "a : array of shape (n,)",
            "a/B-PARAM : array/B-TYPE of/I-TYPE shape/I-TYPE (/I-TYPE n/I-TYPE ,/I-TYPE )/I-TYPE",
        ),
    ],
)
def test_heads_in_their_spellings(documented: Documents, head: str, expected: str) -> None:
    docstring = f'def f():\n    """Do.\n\n    Parameters\n    ----------\n    {head}\n        Words.\n    """\n'
    (row,) = parameters.entities(documented(docstring))
    assert marked(row).removesuffix(" Words .") == expected


def test_of_spans_that_overlap_the_first_counts() -> None:
    assert parameters.tagged("a b c", [(0, 3, "X"), (2, 5, "Y"), (4, 5, "Z")]) == (
        ["a", "b", "c"],
        ["B-X", "I-X", "B-Z"],
    )


def test_a_question_is_answered_by_the_first_sentence_or_not_at_all(documented: Documents) -> None:
    rows = list(parameters.questions(documented(SOURCE)))
    asked = {row["question"]: row for row in rows if row["answers"]["text"]}
    assert {question: row["answers"]["text"] for question, row in asked.items()} == {
        "What is `axis`?": ["The axis of ``name``."],
        "What is `name`?": ["What it is called."],
        "What is `seed`?": ["The seed."],
    }
    for row in asked.values():
        (text,), (start,) = row["answers"]["text"], row["answers"]["answer_start"]
        assert row["context"][start : start + len(text)] == text
    assert (
        asked["What is `seed`?"]["context"].startswith("Draw") and "Returns" not in asked["What is `seed`?"]["context"]
    )
    # The second docstring is asked for a parameter of the first: not for `name`, which it mentions.
    (unanswered,) = (row for row in rows if not row["answers"]["text"])
    assert unanswered["question"] == "What is `axis`?"
    assert unanswered["id"] == "alpha_package/code.py:15"
    assert unanswered["answers"] == {"text": [], "answer_start": []}
