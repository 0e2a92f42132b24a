"""What the report shows of classes."""

import numpy as np

from pipeline.metrics.class_views import calibration, per_class
from pipeline.metrics.classes import Counts


def test_classes_are_listed_the_worst_first_with_dashes_for_what_is_not_defined() -> None:
    target, prediction = np.array([0, 0, 0, 1, 3]), np.array([0, 0, 1, 1, 0])
    table = per_class(("a", "b", "never", "lost"), Counts.of_ids(target, prediction, 4))
    assert [row[0] for row in table.rows] == ["lost", "a", "b"]
    assert table.rows[0] == ("lost", "–", 0.0, 0.0, 1, 0)
    assert table.rows[1] == ("a", 2 / 3, 2 / 3, 2 / 3, 3, 3)


def test_of_very_many_classes_the_worst_are_listed() -> None:
    target = np.arange(150)
    table = per_class([str(place) for place in range(150)], Counts.of_ids(target, np.where(target == 70, 0, target)))
    assert len(table.rows) == 100
    assert "the worst 100 of 150" in table.lead
    assert table.rows[0][0] == "70"


def test_a_dot_stands_for_the_rows_of_like_probability() -> None:
    view = calibration(np.array([0.91, 0.93, 0.5]), np.array([True, False, True]))
    assert [rows for _, _, rows in view.points] == [1, 2]
    assert np.allclose(view.points[1][:2], (0.92, 0.5))
