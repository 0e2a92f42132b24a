import pytest

from pipeline.data.docstrings import numpydoc
from tests.data.docstrings.conftest import Documents

TEXT = """Fit the model
to the data.

Rows without a label are left out.

Parameters
----------
X, y : array_like
    The data,
    and its labels. They are not copied.

    A second paragraph.
*args
    More, e.g. weights. As they are.
verbose : bool

Returns
-------
self : object
    Itself."""
SOURCE = f'''import re


def fit(self, X, y, *args, verbose=False):
    """
    {TEXT.replace(chr(10), chr(10) + "    ")}
    """
'''


def test_a_text_is_parted_behind_its_first_paragraph() -> None:
    first, rest = numpydoc.parted(TEXT)
    assert first == "Fit the model to the data."
    assert rest.startswith("Rows without") and rest.endswith("Itself.")
    assert numpydoc.parted("A title\n=======\n\nMore.") == ("A title", "More.")
    assert numpydoc.parted("Alone.") == ("Alone.", "")


def test_sections_are_underlined_titles() -> None:
    lines = TEXT.split("\n")
    found = {title: lines[begin:end] for title, (begin, end) in numpydoc.sections(TEXT).items()}
    assert list(found) == ["Parameters", "Returns"]
    assert found["Parameters"][0] == "X, y : array_like"
    assert found["Returns"] == ["self : object", "    Itself."]
    assert numpydoc.sections("    Indented\n    --------\n\nShort\n--") == {}


def test_parameters_have_names_a_head_and_a_description_with_its_place() -> None:
    found = list(numpydoc.parameters(TEXT))
    assert [parameter.names for parameter in found] == [("X", "y"), ("args",), ("verbose",)]
    assert [parameter.head for parameter in found] == ["X, y : array_like", "*args", "verbose : bool"]
    assert found[0].description == "The data,\n    and its labels. They are not copied."
    for parameter in found:
        assert TEXT[parameter.start :].startswith(parameter.description)
        assert TEXT.split("\n")[parameter.line] == parameter.head
    assert list(numpydoc.parameters("Nothing.\n\nReturns\n-------\nx : int\n    It.")) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One. Two.", "One."),
        ("One, e.g. two, i.e. 1.5 of them. Three.", "One, e.g. two, i.e. 1.5 of them."),
        ("No stop\nat all", "No stop\nat all"),
        ("Over\n    two lines! More.", "Over\n    two lines!"),
        ("", ""),
    ],
)
def test_a_sentence_ends_with_its_full_stop(text: str, sentence: str) -> None:
    assert numpydoc.first_sentence(text) == sentence


def test_a_line_of_the_text_is_found_in_the_file(documented: Documents) -> None:
    (owner,) = documented(SOURCE)
    text = numpydoc.text_of(owner)
    assert text == TEXT
    for place, line in enumerate(text.split("\n")):
        assert SOURCE.split("\n")[numpydoc.line_of(owner, place) - 1].strip() == line.strip()
