import pytest

from pipeline.data.docstrings import whole
from tests.data.docstrings.conftest import Documents

BODY = "This goes on for quite a few words, so that it is a body"


def function(name: str, summary: str, body: str = "", arguments: str = "self, a, *, b=1") -> str:
    return f'def {name}({arguments}):\n    """{summary}\n\n    {body}\n    """\n\n\n'


SOURCE = "".join(function(f"f{place}", f"Do it in way {place}.", f"{BODY} {place}.") for place in range(6))
PARAMETERS = "\n\n    Parameters\n    ----------\n    a : int\n        How many. Or more.\n"


def test_bodies_and_first_paragraphs(documented: Documents) -> None:
    owners = documented(SOURCE + function("short", "Do.", "Too short.") + function("alone", "Do " * 20))
    rows = list(whole.summaries(owners))
    assert rows[0] == {"id": "alpha_package/code.py:1", "document": f"{BODY} 0.", "summary": "Do it in way 0."}
    assert [row["summary"] for row in rows] == [f"Do it in way {place}." for place in range(6)]
    assert [(row["anchor"], row["positive"]) for row in whole.pairs(owners)] == [
        (row["summary"], row["document"]) for row in rows
    ]
    assert len(list(whole.texts(owners))) == 7  # the short one is left out
    assert next(whole.texts(owners))["text"] == f"Do it in way 0.\n\n{BODY} 0."


def test_a_long_body_ends_with_a_whole_line(documented: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "MAX_CHARACTERS", len(BODY) + 10)
    (row,) = whole.summaries(documented(function("f", "Do.", f"{BODY}\n    {BODY}")))
    assert row["document"] == BODY


def test_the_true_first_paragraph_stands_among_three_others(documented: Documents) -> None:
    rows = list(whole.choices(documented(SOURCE)))
    assert [row["id"] for row in rows] == [f"alpha_package/code.py:{line}" for line in (22, 29, 36)]
    for place, row in enumerate(rows, 3):
        endings = [row[f"ending{number}"] for number in range(4)]
        assert endings[row["label"]] == f"Do it in way {place}."
        assert sorted(endings) == [f"Do it in way {number}." for number in range(place - 3, place + 1)]
        assert row["sent1"] == f"{BODY} {place}."
    assert list(whole.choices(documented(SOURCE))) == rows


def test_a_chat_asks_for_the_function_and_a_parameter(documented: Documents) -> None:
    source = (
        function("f", "Do it.", BODY)
        + function("g", "Do that.", BODY + PARAMETERS)
        + f'class C:\n    "Do.\\n\\n{BODY}"\n'
    )
    first, second = whole.chats(documented(source))
    assert first["messages"] == [
        {"role": "user", "content": "What does `f(a, b)` of alpha_package do?"},
        {"role": "assistant", "content": "Do it."},
    ]
    assert second["messages"][2:] == [
        {"role": "user", "content": "And what is `a`?"},
        {"role": "assistant", "content": "How many."},
    ]


def test_the_order_of_the_lines_is_preferred(documented: Documents) -> None:
    lines = "\n    ".join(f"Line {place}" for place in range(9))
    (row,) = whole.preferences(documented(function("f", "Do it.", lines) + function("g", "Same.", "Same.\n    Same.")))
    chosen = row["chosen"].split("\n")
    assert chosen == ["Do it.", *(f"Line {place}" for place in range(5))]
    assert row["rejected"] != row["chosen"]
    assert sorted(row["rejected"].split("\n")) == sorted(chosen)
    assert row["prompt"] == "What does `f(a, b)` of alpha_package do?"


def test_arguments_are_counted(documented: Documents) -> None:
    source = function("f", "Do it.") + function("g", "Do that.", arguments="cls, a, /, b, *c, d, **e")
    rows = list(whole.counts(documented(source + '"""No function."""\n' + "class C:\n    'Nor this.'\n")))
    assert [(row["text"], row["label"]) for row in rows] == [("f: Do it.", 2.0), ("g: Do that.", 5.0)]


def test_similar_functions_share_the_names_of_arguments(documented: Documents) -> None:
    source = (
        function("f", "Do it.")
        + function("g", "Do that.", arguments="self, a, c, d")
        + function("h", "No.", arguments="")
    )
    (row,) = whole.similarities(documented(source))
    assert row == {"id": "alpha_package/code.py:8", "sentence1": "Do that.", "sentence2": "Do it.", "label": 0.25}


def test_the_kinds_of_sections_that_follow_a_text(documented: Documents) -> None:
    notes = "\n    Notes\n    -----\n    None.\n\n    Odd\n    ---\n    Unknown.\n"
    source = function("f", "Do it.", BODY + PARAMETERS + notes) + function("g", "Do.", BODY)
    (row,) = whole.kinds(documented(source))
    assert row == {"id": "alpha_package/code.py:1", "text": f"Do it. {BODY}", "label": ["notes", "parameters"]}
