"""Overrides are checked, written in their place with all comments kept, and taken back where they shall not stay."""

from pathlib import Path

import pytest

from pipeline import params_file
from pipeline.errors import UserError
from pipeline.lifecycle import overrides
from pipeline.params import Params


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(params_file.render(Params()))
    return path


def changed_lines(before: str, after: str) -> list[str]:
    return [new for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new]


def test_the_value_changes_and_its_comment_stays(file: Path):
    before = file.read_text()
    with overrides.written(["train.learning_rate=1e-4", "data.text_column_names=[a, b]"], file) as params:
        assert params.train.learning_rate == 1e-4
        assert params.data.text_column_names == ["a", "b"]
    rate, columns = sorted(changed_lines(before, file.read_text()), reverse=True)[::-1]
    assert "text_column_names: [a, b]  # the columns that the model reads" in rate + columns
    assert "learning_rate: 1e-4  # the highest" in rate + columns


def test_a_key_inside_a_mapping_is_reached(file: Path):
    with overrides.written(["model.config.hidden_size=64"], file) as params:
        assert params.model.config is not None and params.model.config["hidden_size"] == 64


def test_where_it_runs_is_not_kept(file: Path):
    with overrides.written(["train.seed=7", "hardware.checkpoint_dir=/mnt/c", "tracking.run_name=ci"], file) as params:
        assert (params.hardware.checkpoint_dir, params.tracking.run_name, params.train.seed) == ("/mnt/c", "ci", 7)
        assert params_file.read(file) == params
    kept = params_file.read(file)
    assert (kept.hardware.checkpoint_dir, kept.tracking.run_name, kept.train.seed) == (None, None, 7)


def test_after_a_failure_the_file_is_as_it_was(file: Path):
    before = file.read_bytes()
    with pytest.raises(KeyboardInterrupt), overrides.written(["train.seed=7"], file):
        raise KeyboardInterrupt
    assert file.read_bytes() == before


def test_a_key_that_the_file_leaves_out_is_added(file: Path):
    file.write_text("train:\n  # how\n  seed: 1  # first\n")
    with overrides.written(["train.learning_rate=0.5"], file) as params:
        assert (params.train.seed, params.train.learning_rate) == (1, 0.5)
    assert file.read_text() == "train:\n  # how\n  learning_rate: 0.5\n  seed: 1  # first\n"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.lerning_rate=1", "Did you mean 'train.learning_rate'"),
        ("lr=1", "cannot stand|no key 'lr'"),
        ("train.seed=many", "With --set train.seed=many: .*train.seed is 'many'; it must be a whole number"),
        ("train.learning_rate=-1", "greater than 0"),
        ("train.seed", "no KEY=VALUE"),
        ("=1", "no KEY=VALUE"),
        ("train.seed; rm=1", "no KEY=VALUE"),
        ("train.seed=1\nevaluate: {}", "cannot stand"),
        ("train.seed={a: 1", "cannot stand"),
        ("model.config={}", "cannot stand"),
        ("promotion.margin=0.9", "changed by a commit"),
        ("promotion={}", "changed by a commit"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(file: Path, override: str, said: str):
    before = file.read_bytes()
    ran = False
    with pytest.raises(UserError, match=said), overrides.written([override], file):
        ran = True
    assert not ran
    assert file.read_bytes() == before
