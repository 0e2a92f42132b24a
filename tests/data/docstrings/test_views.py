import pytest

from pipeline.data import docstrings
from pipeline.data.docstrings import labels, source
from pipeline.errors import UserError
from tests.data.docstrings.conftest import Documents

FUNCTION = (
    'def {name}(a):\n    """Do {name}.\n\n    Some more words on what it does, and why one would do that.\n    """\n'
)


@pytest.mark.parametrize("name", docstrings.VIEWS)
def test_every_view_has_real_rows_with_the_columns_that_it_names(name: str) -> None:
    view = docstrings.VIEWS[name]
    table = docstrings.table(name, limit=40)
    assert table.column_names == ["id", *view.columns]
    assert [field.type for field in table.schema][1:] == list(view.columns.values())
    assert 40 <= len(table) < 50
    assert table.drop_null().num_rows == len(table)
    assert len(set(table["id"].to_pylist())) == len(table)
    places = [place.rpartition(":") for place in table["id"].to_pylist()]
    assert {path.partition("/")[0] for path, _, _ in places} == set(view.packages or source.PACKAGES)
    assert all(line.isdecimal() for _, _, line in places)


def test_without_a_name_it_is_the_view_of_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "rows", lambda limit: ("rows", limit))
    assert docstrings.table(None, 7) == ("rows", 7)


def test_rows_are_distinct_and_capped(documented: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    documented("".join(FUNCTION.format(name=f"f{place % 5}") for place in range(10)))
    table = docstrings.table("text")
    assert table["id"].to_pylist() == [f"alpha_package/code.py:{line}" for line in (1, 6, 11, 16, 21)]
    assert docstrings.table("text", limit=2)["text"].to_pylist() == table["text"].to_pylist()[:2]


def test_an_unknown_view_is_named_with_those_that_exist() -> None:
    with pytest.raises(
        UserError, match=r"dataset_config_name: .* no view 'entitys'\. Did you mean 'entities'\?\nThere are chat"
    ):
        docstrings.table("entitys")
