"""The figures: the same bytes every time, readable whatever the labels are called."""

import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace

import matplotlib
import numpy as np
import pytest

from pipeline.evaluation import data_figures, figures, matrix
from pipeline.evaluation.diagonal import diagonal
from pipeline.evaluation.look import Drawing, readable, written
from pipeline.views import Diagonal
from tests.evaluation.findings import curves, interval, metrics

POINTS = Diagonal("reliability", "Reliability", "", "probability", "share that is right", [])
DRAW: dict[str, Callable[[], Drawing]] = {
    "loss": lambda: figures.loss_curve(curves(), 50),
    "validation_scores": lambda: figures.score_curves(curves(), 50),
    "scores": lambda: figures.scores(metrics()["test"], metrics()["baselines"]),
    "differences": lambda: figures.differences(metrics()["versus"]["majority"], "majority"),
    "confusion_matrix": lambda: matrix.confusion_matrix(np.array([[5, 1], [0, 3]]), ["a", "b"]),
    "reliability": lambda: diagonal(replace(POINTS, points=[(0.5, 0.4, 9), (0.9, 1.0, 90)])),
    "lengths": lambda: data_figures.lengths(np.arange(1, 300), 64),
    "label_balance": lambda: data_figures.label_balance(
        {"train": np.array([9, 1]), "test": np.array([2, 2])}, ["a", "b"]
    ),
}
NASTY = ["$x_1$ & <b>", "日本語 العربية 🙂", "tab\tnew\nline \x00\x1b[31m", "x" * 500, "", "  \u202e\ufffe"]


def said(drawing: Drawing) -> str:
    """All text of the SVG; parsing it proves that it is one."""
    return " ".join(ElementTree.fromstring(drawing.svg).itertext())


@pytest.mark.parametrize("name", DRAW)
def test_the_same_data_gives_the_same_bytes(name: str) -> None:
    first, again = DRAW[name](), DRAW[name]()
    assert first == again
    assert first.name == name
    assert first.alt
    assert b"<dc:date>" not in first.svg
    assert b"Matplotlib" not in first.svg + first.png


@pytest.mark.parametrize("name", DRAW)
def test_svg_and_png_have_the_size_that_the_page_is_told(name: str) -> None:
    drawing = DRAW[name]()
    root = ElementTree.fromstring(drawing.svg)
    points = [float(root.attrib[side].removesuffix("pt")) for side in ("width", "height")]
    assert [round(side / 0.75) for side in points] == [drawing.width, drawing.height]
    assert struct.unpack(">II", drawing.png[16:24]) == (2 * drawing.width, 2 * drawing.height)


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    DRAW["loss"]()
    assert dict(matplotlib.rcParams) == before


def test_labels_of_any_kind_are_shown_as_they_are() -> None:
    counts = np.full((6, 6), 2)
    text = said(matrix.confusion_matrix(counts, NASTY))
    assert "$x_1$ & <b>" in text
    assert "日本語 العربية 🙂" in text
    assert "tab new line" in text
    assert "x" * 21 + "…" in text
    assert "x" * 23 not in text
    said(data_figures.label_balance({"train": np.arange(6)}, NASTY))
    said(figures.differences(metrics()["versus"]["majority"], NASTY[0]))


@pytest.mark.parametrize(("labels", "numbers"), [(2, True), (20, True), (21, False), (77, False)])
def test_numbers_stand_in_the_matrix_while_there_is_room(labels: int, numbers: bool) -> None:
    counts = np.eye(labels, dtype=int) * 777
    drawing = matrix.confusion_matrix(counts, [f"label {place}" for place in range(labels)])
    assert ("777" in said(drawing)) is numbers
    assert f"label {labels - 1}" in said(drawing)
    assert f"{777 * labels:,} of {777 * labels:,} examples" in drawing.alt
    assert drawing.width <= 1100


def test_a_label_without_rows_has_no_recall() -> None:
    text = said(matrix.confusion_matrix(np.array([[3, 1], [0, 0]]), ["a", "b"]))
    assert "75%" in text
    assert "nan" not in text


def test_curves_name_the_best_step_and_every_score_once() -> None:
    text = said(DRAW["validation_scores"]())
    assert "best: step 50" in text
    assert [text.count(name) for name in ("accuracy", "f1_macro", "loss", "learning_rate")] == [1, 1, 0, 0]
    text = said(DRAW["loss"]())
    assert "train" in text
    assert "validation" in text


def ticks(drawing: Drawing, axis: str) -> list[str]:
    """What stands at the ticks of an axis (`x` or `y`)."""
    root = ElementTree.fromstring(drawing.svg)
    (group,) = root.iterfind(f".//*[@id='matplotlib.axis_{'xy'.index(axis) + 1}']")
    found = [
        " ".join("".join(tick.itertext()).split()) for tick in group if tick.get("id", "").startswith(axis + "tick")
    ]
    return [text for text in found if text]


def offsets(drawing: Drawing) -> list[str]:
    """What matplotlib adds to all ticks of an axis, such as `1e-6+9.9e-1`."""
    root = ElementTree.fromstring(drawing.svg)
    texts = [text.strip() for element in root.iter() for text in element.itertext()]
    return [text for text in texts if text.startswith(("+", "1e"))]


def test_a_curve_of_a_single_point_has_one_step_and_a_scale_that_scores_can_reach() -> None:
    single = curves(1) | {("validation", name): ([4], [1.0]) for name in ("accuracy", "f1_macro")}
    drawing = figures.score_curves(single, 4)
    assert ticks(drawing, "x") == ["4"]
    assert max(map(float, ticks(drawing, "y"))) == 1
    assert min(map(float, ticks(drawing, "y"))) >= 0.94
    assert said(drawing).count("best: step 4") == 1
    assert drawing.svg.count(b"<use") >= 2, "each score has its marker"
    assert ticks(figures.loss_curve(curves(1), 10), "x") == ["10"]


def test_a_curve_that_is_no_number_does_not_stop_the_report() -> None:
    said(figures.loss_curve({("train", "loss"): ([1, 2], [float("nan"), float("inf")])}, 1))


@pytest.mark.parametrize("value", [1.0, 0.9999995, 0.0, -1.0])
def test_equal_scores_keep_a_scale_that_people_can_read(value: float) -> None:
    same: dict[str, dict[str, float | None]] = {"accuracy": {"value": value, "low": None, "high": None}}
    drawing = figures.scores(same, {"other": same})
    shown = [float(tick.replace("−", "-")) for tick in ticks(drawing, "x")]
    assert 0.01 <= shown[-1] - shown[0] <= 0.06
    assert shown[-1] <= 1
    assert min(shown) >= min(value, 0) - 0.1
    assert not offsets(drawing)
    assert said(drawing).count("no interval") == 2


def test_equal_scores_have_labels_that_do_not_cover_each_other() -> None:
    low, middle, high = figures._apart([0.5, 0.5, 0.5], 0.1)
    assert (low, middle, high) == pytest.approx((0.4, 0.5, 0.6), abs=0.01)
    assert figures._apart([0.9, 0.1], 0.1) == [0.9, 0.1]


def test_a_far_baseline_stands_at_the_edge_as_a_number() -> None:
    """Drawn to scale it would press the intervals that matter into a few pixels."""
    text = said(DRAW["scores"]())
    assert text.count("◂ 0.100") == 2
    assert text.count("this model") == 2
    assert "0.800 (0.780 to 0.820)" in DRAW["scores"]().alt


def test_scores_without_intervals_are_drawn() -> None:
    bare = {"accuracy": {"value": 1.0, "low": None, "high": None}, "mcc": {"value": None, "low": None, "high": None}}
    assert "mcc of this model is not defined" in figures.scores(bare, {"other": bare}).alt
    difference = {"accuracy": {"difference": 0.0, "low": None, "high": None}}
    drawing = figures.differences(difference, "other")
    assert "accuracy 0.000 (no interval)" in drawing.alt
    assert "no interval" in said(drawing)
    assert "+0.02" in said(drawing)


def test_two_losses_that_differ_in_their_labels_say_so() -> None:
    assert "smoothed" in said(figures.loss_curve(curves(), 50, "smoothed labels"))
    assert "smoothed" not in said(figures.loss_curve(curves(), 50))


def test_the_loss_is_no_score() -> None:
    drawing = figures.differences({"accuracy": interval(0.1, key="difference"), "loss": interval(-0.5)}, "other")
    assert "loss" not in said(drawing)


@pytest.mark.parametrize(
    ("lengths", "share"),
    [(np.array([3]), "0.0%"), (np.array([64, 65]), "50.0%"), (np.full(9, 5000), "100.0%"), (np.arange(400), "83.8%")],
)
def test_lengths_say_how_many_rows_are_cut(lengths: np.ndarray, share: str) -> None:
    drawing = data_figures.lengths(lengths, 64)
    assert f"{share} of examples are longer" in said(drawing)
    assert ("holds all longer" in said(drawing)) == (lengths.max() > 150)


def test_many_labels_are_not_named_in_the_balance() -> None:
    text = said(data_figures.label_balance({"train": np.arange(1, 78)}, [f"label {place}" for place in range(77)]))
    assert "label 5" not in text
    assert "the most frequent first" in text


def test_wide_signs_have_the_room_they_need() -> None:
    plain, wide = (matrix.confusion_matrix(np.eye(2, dtype=int), [sign * 11, "b"]) for sign in "x日")
    assert wide.width > plain.width + 50
    assert readable("日" * 20, 11) == "日" * 5 + "…"


@pytest.mark.parametrize("label", ["日本語", "🙂", "हिन्दी", "x\U0001fae8"])
def test_the_png_numbers_a_label_that_it_cannot_write(label: str) -> None:
    def drawn(name: str) -> list[Drawing]:
        counts = np.array([[5, 1], [0, 3]])
        names = ["the longest label", name]
        return [
            matrix.confusion_matrix(counts, names),
            data_figures.label_balance({"train": counts.sum(axis=1)}, names),
        ]

    for ours, numbered in zip(drawn(label), drawn("label 1"), strict=True):
        assert label in said(ours)
        assert "label 1" not in said(ours)
        assert ours.png == numbered.png, "no boxes"
    assert written("naïve Ελλάδα", 1) == "naïve Ελλάδα"
    assert written(label, 1) == "label 1"


def test_readable_cuts_by_characters() -> None:
    assert readable("a" * 28) == "a" * 28
    assert readable("a" * 29) == "a" * 27 + "…"
    assert readable("one\ntwo\x07 three") == "one two three"


def test_a_diagonal_tells_its_points_or_how_far_they_lie_off() -> None:
    few = diagonal(replace(POINTS, points=[(0.5, 0.4, 9), (0.9, 1.0, 1)])).alt
    assert "0.5: 0.4 (9 rows); 0.9: 1 (1 rows)" in few
    many = diagonal(replace(POINTS, points=[(place / 100, place / 100 + 0.25, 2) for place in range(100)])).alt
    assert "200 rows, on average 0.25 from the diagonal" in many
    assert diagonal(replace(POINTS, points=[(0.7, 0.7, 3)])).png, "one point alone is drawn, too"
