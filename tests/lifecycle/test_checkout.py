"""A run comes back as it was, wherever the project has gone since; what cannot be had is said."""

import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline import digest, params_file, project
from pipeline.cli.checkout import command
from pipeline.errors import UserError
from pipeline.lifecycle import checkout
from pipeline.params import Params, Tracking, Train
from pipeline.tracking import lineage, records, store
from tests.lifecycle import traced
from tests.lifecycle.traced import Traced, dvc
from tests.tracking.repositories import git, write


@pytest.fixture
def made(project_of_runs: Traced) -> Traced:
    return project_of_runs


def content(folder: Path) -> dict[str, bytes]:
    """All files but git's and DVC's own."""
    files = (path for path in folder.rglob("*") if path.is_file() and not {".git", ".dvc"} & set(path.parts))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_run_comes_back_as_it_was(made: Traced, folder: Path):
    write({"train.py": traced.TRAIN + "# changed\n", "new.py": "x = 1\n", "data/raw/large.csv": "larger\n"})
    dvc("add", "-q", "data/raw/large.csv")
    record = made.run("first", params=Params(train=Train(learning_rate=0.25)))
    model = digest.of_folder(project.BEST_MODEL)

    write({"train.py": "raise SystemExit('broken')\n", "new.py": "x = 2\n", "data/raw/large.csv": "other\n"})
    dvc("add", "-q", "data/raw/large.csv")
    Path("params.yaml").write_text(params_file.render(Params()))
    before = content(made.home), git("status", "--porcelain"), git("rev-parse", "HEAD")

    tree = checkout.check_out(record, folder / "there")
    assert tree.missing == ()
    assert (content(made.home), git("status", "--porcelain"), git("rev-parse", "HEAD")) == before
    there = tree.folder
    assert (there / "train.py").read_text() == traced.TRAIN + "# changed\n"
    assert (there / "new.py").read_text() == "x = 1\n"
    assert params_file.read(there / "params.yaml").train.learning_rate == 0.25
    rows = {name: (there / "data/raw" / f"{name}.csv").read_text() for name in ("large", "mine", "small")}
    assert rows == {"large": "larger\n", "mine": "mine\n", "small": "small\n"}
    assert (there / "data/prepared/rows").read_text() == "larger\nmine\nsmall\n"
    assert not (there / "models/best").exists(), "not an older run's model"
    assert "Stage 'train' is cached" in dvc("repro", folder=there)
    assert digest.of_folder(there / "models/best") == model == record.tags[records.MODEL_DIGEST]


def test_what_cannot_be_had_is_said(made: Traced, folder: Path):
    write({".env": "A=b\n"})
    record = made.run("first")
    sha256 = digest.of_file(Path("data/raw/mine.csv"))
    write({"data/raw/mine.csv": "changed\n"})
    shutil.rmtree(".dvc/cache/files")
    tree = checkout.check_out(record, folder / "there")
    env, large, mine = tree.missing
    assert env == ".env: its change was not recorded, as its name is that of a file with secrets"
    assert large.startswith("data/raw/large.csv (DVC's hash ")
    assert large.endswith("the cache does not have it, and there is no remote")
    assert mine.startswith(f"data/raw/mine.csv (5 bytes, SHA-256 {sha256}): neither git nor DVC keeps it")
    assert "the one in the project is another" in mine
    Path("data/raw/mine.csv").unlink()
    assert "the project has none" in checkout.check_out(record, folder / "again").missing[-1]


def test_changed_rows_that_the_patch_must_not_hold_are_copied_while_they_are_the_same(made: Traced, folder: Path):
    write({"data/raw/small.csv": "smaller\n"})
    record = made.run("first")
    assert b"smaller" not in (record.read(lineage.PATCH) or b"")
    tree = checkout.check_out(record, folder / "there")
    assert tree.missing == ()
    assert (tree.folder / "data/raw/small.csv").read_text() == "smaller\n"
    write({"data/raw/small.csv": "other\n"})
    (line,) = checkout.check_out(record, folder / "again").missing
    assert line.startswith("data/raw/small.csv (8 bytes, SHA-256 ")


def test_the_remote_gives_what_the_cache_has_not(made: Traced, folder: Path):
    # A relative address, which means another folder from within the new one.
    dvc("remote", "add", "-q", "--local", "-d", "shared", "../nested/remote")
    record = made.run("first")
    dvc("push", "-q")
    shutil.rmtree(".dvc/cache/files")
    tree = checkout.check_out(record, folder / "deep" / "er" / "there")
    assert tree.missing == ()
    assert (tree.folder / "data/raw/large.csv").read_text() == "large\n"


def test_params_that_were_left_out_for_a_secret_are_written_as_recorded(made: Traced, folder: Path):
    login = "ann:" + "pa55word@"
    params = Params(train=Train(learning_rate=0.25), tracking=Tracking(tags={"page": f"https://{login}host.example/x"}))
    record = made.run("first", params=params)
    masked = params_file.render(params).replace(login, "")
    made.client.log_text(record.id, masked, "params.yaml")  # as Run does
    tree = checkout.check_out(record, folder / "there")
    assert "params.yaml: its change was not recorded" in tree.missing[0]
    found = params_file.read(tree.folder / "params.yaml")
    assert (found.train.learning_rate, found.tracking.tags) == (0.25, {"page": "https://host.example/x"})


def test_an_existing_folder_is_refused(made: Traced, folder: Path):
    record = made.run("first")
    (folder / "there").mkdir()
    with pytest.raises(UserError, match="is there already"):
        checkout.check_out(record, folder / "there")
    assert list((folder / "there").iterdir()) == []


def test_a_commit_that_is_not_here_is_named(made: Traced, folder: Path):
    record = made.run("first")
    facts = record.read(lineage.LINEAGE)
    assert facts is not None
    gone = facts.decode().replace(git("rev-parse", "HEAD"), "0" * 40)
    made.client.log_text(record.id, gone, lineage.LINEAGE)
    with pytest.raises(UserError, match=rf"commit {'0' * 40} \(branch main\) is not in this repository"):
        checkout.check_out(record, folder / "there")


def test_a_patch_that_does_not_fit_leaves_no_folder(made: Traced, folder: Path):
    write({"train.py": traced.TRAIN + "# changed\n"})
    record = made.run("first")
    made.client.log_text(record.id, "diff --git a/no b/no\n--- a/no\n+++ b/no\n@@ -1 +1 @@\n-a\n+b\n", lineage.PATCH)
    with pytest.raises(UserError, match="do not fit its commit: error: no: No such file or directory"):
        checkout.check_out(record, folder / "there")
    assert not (folder / "there").exists()
    assert len(git("worktree", "list").splitlines()) == 1


def test_a_run_without_git_or_without_lineage_says_so(made: Traced, folder: Path):
    run_id = made.client.create_run(made.experiment, run_name="bare").info.run_id
    with pytest.raises(UserError, match=r"bare .* has no lineage/lineage.json"):
        checkout.check_out(records.find(run_id, "reprise"), folder / "there")
    made.client.log_text(run_id, '{"git": null}', lineage.LINEAGE)
    with pytest.raises(UserError, match="made in a folder without git"):
        checkout.check_out(records.find(run_id, "reprise"), folder / "there")


@pytest.mark.parametrize(
    "forged",
    [
        '{"git": {"commit": "--upload-pack=x", "folder": ""}}',
        f'{{"git": {{"commit": "{"0" * 40}", "folder": "../.."}}}}',
        '{"git": null, "kept_nowhere": [{"path": "../../.ssh/authorized_keys"}]}',
        '{"git": null, "kept_nowhere": [{"path": "/etc/passwd"}]}',
    ],
)
def test_what_somebody_else_wrote_leads_nowhere(folder: Path, forged: str):
    client = store.connect()
    run_id = client.create_run(store.experiment_id(client, "reprise")).info.run_id
    client.log_text(run_id, forged, lineage.LINEAGE)
    with pytest.raises(UserError, match="none that Reprise wrote"):
        checkout.origin(records.find(run_id, "reprise"))


def link(path: str, target: Path) -> str:
    """A patch that makes a link of a new file."""
    head = f"diff --git a/{path} b/{path}\nnew file mode 120000\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n"
    return f"{head}+{target}\n\\ No newline at end of file\n"


@pytest.mark.parametrize("path", ["dvc.lock", ".dvc/config.local"])
def test_no_link_in_a_patch_has_a_file_written_elsewhere(made: Traced, folder: Path, path: str):
    record = made.run("first")
    made.client.log_text(record.id, link(path, folder / "elsewhere"), lineage.PATCH)
    with pytest.raises(UserError, match=f"a link leads {path} out of its folder"):
        checkout.check_out(record, folder / "there")
    assert not (folder / "elsewhere").exists()


def test_no_pointer_has_data_written_elsewhere(made: Traced, folder: Path):
    value = yaml.safe_load(Path("data/raw/large.csv.dvc").read_text())["outs"][0]["md5"]
    pointer = ["outs:", f"- md5: {value}", "  hash: md5", "  size: 6", "  path: ../../elsewhere"]
    head = "diff --git a/x.dvc b/x.dvc\nnew file mode 100644\n--- /dev/null\n+++ b/x.dvc\n@@ -0,0 +1,5 @@\n"
    record = made.run("first")
    made.client.log_text(record.id, head + "".join(f"+{line}\n" for line in pointer), lineage.PATCH)
    tree = checkout.check_out(record, folder / "in" / "there")
    assert tree.missing == ("x.dvc: it names a place out of the folder",)
    assert not (folder / "elsewhere").exists()


def test_the_command_shares_mlflow_and_says_what_is_next(made: Traced, folder: Path, monkeypatch: pytest.MonkeyPatch):
    record = made.run("first")
    done = CliRunner().invoke(command, ["first"], catch_exceptions=False)
    there = made.home.with_name(f"project-{record.id[:8]}")
    assert f"is in {there}" in done.output
    assert f"cd {there} && dvc repro" in done.output
    monkeypatch.chdir(there)
    assert records.find("first", "reprise").id == record.id
    other = store.experiment_id(store.connect(), "made there")
    assert made.client.get_experiment(other).artifact_location == (made.home / "mlartifacts").as_uri()
    assert git("status", "--porcelain") in ("", "?? dvc.lock")
    monkeypatch.chdir(made.home)
    git("worktree", "remove", "--force", str(there))
    assert (made.home / "mlflow.db").is_file()
