"""The page: one file, nothing from outside, nothing that runs, the same bytes for the same results."""

import platform
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.evaluation import figures
from pipeline.evaluation.mistakes import Confusion, Mistake
from pipeline.evaluation.page import shortened
from pipeline.evaluation.report import render, write
from pipeline.params import Params
from pipeline.views import Column, Table
from tests.evaluation.findings import audit, curves, findings, metrics

EMPTY = {"meta", "link", "img", "wbr", "br"}
HOSTILE = "</td></table><script>alert('x')</script><img src=x onerror=alert(1)> {{ 7*7 }} & \x00\x1b ‮ flipped"


class Page(HTMLParser):
    """Reads a page; every tag that is opened must be closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += "" if tag == "wbr" else " "
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def drawn() -> list[figures.Drawing]:
    return [figures.loss_curve(curves(), 50), figures.score_curves(curves(), 50)]


def test_sections_stand_in_their_order_and_the_navigation_finds_them() -> None:
    page = Page(render(findings()))
    sections = [attributes["id"] for attributes in page.of("section")]
    assert sections == ["scores", "curves", "confusion", "pairs", "slices", "mistakes", "data", "params", "lineage"]
    assert [link["href"] for link in page.of("a")] == [f"#{name}" for name in sections]


def test_the_headline_is_the_heading_and_the_title() -> None:
    text = render(findings())
    sentence = "Test accuracy is 80.0% (95% interval 78.0% to 82.0%), better than the strongest baseline"
    assert re.search(f"<h1>{re.escape(sentence)}", text)
    assert re.search(f"<title>{re.escape(sentence)}", text)
    assert "words &amp; &lt;trees&gt;" in text


def test_what_users_wrote_stays_text(drawn: list[figures.Drawing]) -> None:
    text = render(
        findings(
            mistakes=[Mistake(HOSTILE, (HOSTILE, HOSTILE), HOSTILE, HOSTILE, 0.9)],
            confusions=[Confusion(HOSTILE, HOSTILE, 3, 0.5)],
            audit=audit((HOSTILE, "ok")) | {"warnings": [HOSTILE]},
            params=Params(tokenizer=Params().tokenizer.model_copy(update={"tokenizer_name": HOSTILE})),
            drawings=drawn,
        )
    )
    page = Page(text)
    assert not page.of("script")
    assert len(page.of("img")) == 2
    assert "<script" not in text
    assert "{{ 7*7 }}" in page.text
    assert "\x00" not in text
    assert "\x1b" not in text


def test_nothing_comes_from_outside_and_nothing_runs(drawn: list[figures.Drawing]) -> None:
    text = render(findings(drawings=drawn))
    page = Page(text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.replace("data:image/svg+xml;base64,", "")[:20_000])
    assert all((image["src"] or "").startswith("data:image/svg+xml;base64,") for image in page.of("img"))
    assert not page.of("script")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    (policy,) = (meta for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_readers_who_do_not_see_it_are_told(drawn: list[figures.Drawing]) -> None:
    page = Page(render(findings(drawings=drawn)))
    assert page.of("html") == [{"lang": "en"}]
    assert all(image["alt"] for image in page.of("img"))
    assert all(header.get("scope") in ("col", "row") for header in page.of("th"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_same_findings_give_the_same_bytes(tmp_path: Path, drawn: list[figures.Drawing]) -> None:
    for name in ("one", "two"):
        write(findings(drawings=drawn), tmp_path / name)
    files = [sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in ("one", "two")]
    assert [path.name for path in files[0]] == ["loss.png", "validation_scores.png", "index.html"]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    page = (tmp_path / "one/index.html").read_text(encoding="utf-8")
    for here in (str(tmp_path), str(Path.cwd()), platform.node()):
        assert here not in page


def test_params_are_written_out_but_not_where_it_is_tracked() -> None:
    text = Page(render(findings())).text
    for key in ("learning_rate", "num_threads", "n_resamples", "max_seq_length", '"docstrings"'):
        assert key in text
    for key in ("experiment_name", "log_model"):
        assert key not in text


def test_the_difference_says_in_words_what_it_means() -> None:
    def verdicts(difference: float) -> list[str]:
        text = render(findings(metrics=metrics(difference)))
        return re.findall(r'class="verdict[^>]*>([^<]+)<', text)

    # Of a loss less is better: where the scores are better, the same difference of the loss is worse.
    assert verdicts(0.05) == ["better", "better", "worse"]
    assert verdicts(-0.05) == ["worse", "worse", "better"]
    assert verdicts(0.01) == ["may be noise"] * 3


def test_a_difference_without_interval_has_no_verdict() -> None:
    found = metrics()
    found["versus"]["words & <trees>"] = {"accuracy": {"difference": 0.0, "low": None, "high": None}}
    text = render(findings(metrics=found))
    assert "no interval" in text
    assert 'class="verdict' not in text


def test_the_audit_is_shown() -> None:
    text = " ".join(Page(render(findings())).text.split())
    assert "3 rows were removed from train." in text
    assert "rows cut by max_seq_length 5 (10.0%)" in text
    assert "rows of train that are also in test 1 3" in text
    assert "Texts that stand with different labels: 1, in 2 rows." in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: {"confusions": [], "mistakes": []}, "every test row is right"),
        (lambda: {"mistakes": []}, "evaluate.n_mistakes is 0"),
        (lambda: {"audit": audit() | {"warnings": []}}, "Nothing that calls for attention"),
        (lambda: {"metrics": metrics() | {"rows": {"test": 99, "validation": 1}}}, "These are few rows"),
        (lambda: {"metrics": metrics() | {"baselines": {}, "versus": {}}}, "This model"),
        (lambda: {"metrics": _with_accuracy({"value": 1.0, "low": None, "high": None})}, "1.000 no interval"),
        (lambda: {"metrics": _with_accuracy({"value": 1.0, "low": None, "high": None})}, "No interval: every resample"),
        (lambda: {"metrics": _with_accuracy({"value": None, "low": None, "high": None})}, "– not defined"),
        (lambda: {"mistakes": [Mistake("t:1", ("",), "a", "b", 0.5)]}, "(empty)"),
    ],
)
def test_says_what_is_special(change: Callable[[], dict[str, object]], said: str) -> None:
    text = " ".join(Page(render(findings(**change()))).text.split())
    assert said in text
    assert said not in " ".join(Page(render(findings())).text.split()) or said == "This model"


def _with_accuracy(found: dict[str, float | None]) -> dict[str, object]:
    return metrics() | {"test": metrics()["test"] | {"accuracy": found}}


def test_long_texts_are_cut_by_characters() -> None:
    assert shortened("a" * 10, 10) == "a" * 10
    assert shortened("a" * 11, 10) == "a" * 9 + "…"
    assert shortened(" a\n\tb ", 10) == "a b"
    assert shortened(" " * 1000 + "late", 10) == "…"
    text = render(findings(mistakes=[Mistake("t:1", ("word " * 100_000,), "a", "b", 0.5)]))
    assert len(text) < 40_000


def test_numbers_of_a_column_have_the_same_decimals() -> None:
    def mse(value: float) -> dict[str, float | None]:
        return {"value": value, "low": value / 2, "high": value * 2}

    small = metrics() | {"test": {"mse": mse(0.0004)}, "validation": {"mse": mse(0.0003)}}
    small |= {"baselines": {"mean": {"mse": mse(0.052)}}, "slices": {"length": {"1–9": {"rows": 3, "mse": mse(0.002)}}}}
    small["versus"] = {"mean": {"mse": {"difference": -0.0516, "low": -0.06, "high": -0.04}}}
    text = Page(render(findings(metrics=small))).text
    for number in ("0.0004", "0.0002 to 0.0008", "0.0520", "−0.0516", "−0.0600 to −0.0400", "0.0020"):
        assert number in text, number


def test_a_view_shows_words_and_numbers_each_in_its_way() -> None:
    columns = [Column("Row"), Column("F1"), Column("Perplexity"), Column("Rows"), Column("Text", is_text=True)]
    rows = [("a:1", 0.5, 1234.5, 12345, "secret"), ("b:2", "–", 2.25, 7, HOSTILE)]
    found = findings(views=[Table("own", "Own view", "What is to be seen.", columns, rows)])
    page = render(found)
    assert '<td class="number">0.500</td><td class="number">1,234</td><td class="number">12,345</td>' in page
    assert '<td class="number">–</td><td class="number">2</td><td class="number">7</td>' in page
    assert page.count('<th scope="col" class="number">F1</th>') == 1
    assert "secret" in page
    assert "<script>" not in page
    without = render(found, texts=False)
    assert "secret" not in without
    assert ">Text</th>" not in without
