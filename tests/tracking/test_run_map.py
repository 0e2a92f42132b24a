from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.tracking import run_map


def test_what_is_remembered_is_recalled_and_the_last_counts(folder: Path):
    assert run_map.recall("digest") is None
    run_map.remember("digest", run="run-1")
    run_map.remember("other", run="run-2")
    run_map.remember("digest", run="run-3")
    assert (run_map.recall("digest"), run_map.recall("other")) == ("run-3", "run-2")


def test_at_once_none_is_lost(folder: Path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: run_map.remember(f"digest-{number}", run=f"run-{number}"), range(40)))
    assert [run_map.recall(f"digest-{number}") for number in range(40)] == [f"run-{number}" for number in range(40)]


def test_a_broken_map_is_no_loss(folder: Path):
    run_map.remember("digest", run="run-1")
    (folder / ".reprise" / "runs.json").write_text('{"digest": "run')
    assert run_map.recall("digest") is None
    run_map.remember("digest", run="run-2")
    assert run_map.recall("digest") == "run-2"


def test_the_map_lies_in_the_main_project_not_in_a_temporary_copy(folder: Path, tmp_path_factory, monkeypatch):
    main = tmp_path_factory.mktemp("main")
    monkeypatch.setenv("DVC_ROOT", str(main))
    run_map.remember("digest", run="run-1")
    assert (main / ".reprise" / "runs.json").is_file()
    assert not (folder / ".reprise").exists()
