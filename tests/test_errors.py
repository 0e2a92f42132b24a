from pipeline.errors import counted


def test_one_thing_is_named_in_the_singular():
    assert [counted(number, "row") for number in (0, 1, 2, 20_000)] == ["0 rows", "1 row", "2 rows", "20,000 rows"]
