import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from pipeline import dag, digest
from pipeline.params import Data, Hardware, Model, Params, Tracking, Train
from pipeline.tracking import lineage, machine
from tests.tracking.repositories import commit, git, write


@pytest.fixture(autouse=True)
def no_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def repository(folder: Path) -> Path:
    git("init", "-q", "-b", "topic")
    git("remote", "add", "origin", "https://ann:pa55word@example.org/reprise.git")
    Path("dvc.yaml").write_text("stages: {}\n")
    git("add", "dvc.yaml")
    git("commit", "-qm", "first")
    return folder


def test_git_tells_commit_branch_and_whether_files_differ(repository: Path):
    found = lineage.git_tags()
    assert found["mlflow.source.git.commit"] == found["reprise.git.commit"] == git("rev-parse", "HEAD")
    assert found["reprise.git.branch"] == "topic"
    assert found["reprise.git.dirty"] == "false"
    assert found["mlflow.source.git.repoURL"] == "https://example.org/reprise.git"
    Path("params.yaml").write_text("version: 1\n")
    assert lineage.git_tags()["reprise.git.dirty"] == "true"


def test_what_a_run_itself_writes_does_not_make_its_commit_dirty(repository: Path):
    metrics = repository / "metrics"
    metrics.mkdir()
    (metrics / "train.json").write_text("{}\n")
    git("add", "metrics")
    git("commit", "-qm", "second")
    (metrics / "train.json").write_text('{"steps": 3}\n')
    (metrics / "evaluation.json").write_text("{}\n")
    (repository / "dvc.lock").write_text("schema: '2.0'\n")
    assert lineage.git_tags()["reprise.git.dirty"] == "false"
    (repository / "dvc.yaml").write_text("stages: {}  # changed\n")
    assert lineage.git_tags()["reprise.git.dirty"] == "true"


def test_under_an_experiment_the_base_is_what_it_started_from(repository: Path, monkeypatch: pytest.MonkeyPatch):
    baseline = git("rev-parse", "HEAD")
    commit({"params.yaml": "lr: 2\n"}, "what DVC commits for a while")
    assert lineage.git_tags()["reprise.git.commit"] != baseline
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", baseline)
    monkeypatch.setenv("DVC_EXP_NAME", "ripe-fig")
    assert lineage.git_tags()["reprise.git.commit"] == baseline
    assert lineage.git_tags()["reprise.git.dirty"] == "true"
    kept = lineage.capture(Params(), {}, "cpu")
    assert b"+lr: 2\n" in kept[lineage.PATCH]
    assert json.loads(kept[lineage.LINEAGE])["dvc"] == {"experiment": "ripe-fig", "baseline": baseline}


def test_a_detached_head_has_a_commit_but_no_branch(repository: Path):
    git("checkout", "-q", "--detach")
    found = lineage.git_tags()
    assert "reprise.git.commit" in found
    assert "reprise.git.branch" not in found


def test_without_a_repository_git_has_no_say(folder: Path):
    assert lineage.git_tags() == {}


def test_a_release_unpacked_inside_another_repository_has_not_its_commit(
    repository: Path, monkeypatch: pytest.MonkeyPatch
):
    release = repository / "release"
    release.mkdir()
    (release / "dvc.yaml").touch()
    monkeypatch.chdir(release)
    assert lineage.git_tags() == {}


def test_a_repository_without_a_commit_has_no_say(folder: Path):
    git("init", "-q")
    write({"dvc.yaml": "stages: {}\n"})
    git("add", "dvc.yaml")
    assert lineage.git_tags() == {}


def test_without_git_nothing_fails(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert lineage.git_tags() == {}
    assert "mlflow.source.git.commit" not in lineage.facts()


def test_facts_name_the_experiment_the_stage_and_the_versions(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DVC_EXP_NAME", "ripe-fig")
    monkeypatch.setenv("DVC_STAGE", "train")
    facts = lineage.facts()
    assert facts["reprise.dvc.experiment"] == "ripe-fig"
    assert "reprise.dvc.baseline" not in facts
    assert facts["mlflow.source.name"] == "dvc.yaml:train"
    assert facts["reprise.version.mlflow"] == metadata.version("mlflow")
    assert facts["mlflow.user"] == lineage.owner()


def test_versions_are_read_from_what_is_installed_and_no_package_is_imported():
    code = "import sys; from pipeline.tracking import lineage; lineage.facts(); print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"torch", "transformers", "mlflow"} & set(answer.stdout.split())
    assert machine.versions()["torch"] == metadata.version("torch")


@pytest.mark.parametrize(
    ("params", "name"),
    [
        (Params(train=Train(learning_rate=0.002)), "lr 0.002 bs 64 modernbert docstrings"),
        (
            Params(
                data=Data(dataset_name=None, train_file="data/raw/reviews.csv.gz"),
                model=Model(model_name_or_path="org/mini-lm", config=None),
                train=Train(learning_rate=2e-5, global_batch_size=32),
            ),
            "lr 2e-05 bs 32 mini-lm reviews",
        ),
        (
            Params(
                data=Data(dataset_name=None, train_file="data/raw/sst2/train.tsv"), train=Train(learning_rate=0.002)
            ),
            "lr 0.002 bs 64 modernbert sst2",
        ),
        (
            Params(data=Data(dataset_name=None, train_file="data/raw/train.tsv"), train=Train(learning_rate=0.002)),
            "lr 0.002 bs 64 modernbert train",
        ),
        (
            Params(
                data=Data(dataset_name=None, train_file=["data/raw/multi30k/train.en", "data/raw/multi30k/train.de"]),
                train=Train(learning_rate=0.002),
            ),
            "lr 0.002 bs 64 modernbert multi30k",
        ),
        (Params(tracking=Tracking(run_name="mine")), "mine"),
    ],
)
def test_a_run_is_named_by_what_tells_it_apart(params: Params, name: str):
    assert lineage.run_name(params) == name


def test_a_dvc_experiment_names_its_run_unless_params_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DVC_EXP_NAME", "ripe-fig")
    assert lineage.run_name(Params()) == "ripe-fig"
    assert lineage.run_name(Params(tracking=Tracking(run_name="mine"))) == "mine"


def test_the_description_says_what_is_learned_and_how():
    text = lineage.description(Params(train=Train(max_steps=1200)))
    assert text.startswith("**text-classification** on `docstrings`")
    assert "| model | modernbert from scratch |" in text
    assert "| global batch | 64 examples, 1,200 steps |" in text


STAGES = """stages:
  train:
    cmd: train
    deps: [data/raw, params.yaml]
    outs: [models/best]
"""


def test_what_is_captured_makes_the_run_again(repository: Path):
    params = Params(
        hardware=Hardware(num_threads=3), tracking=Tracking(tags={"url": "https://ann:pa55@host/?token=abc"})
    )
    write({"dvc.yaml": STAGES, ".gitignore": "/data/raw/*\n", "data/raw/rows.csv": "a,b\n", "notes.txt": "x"})
    write({"dvc.lock": "schema: '2.0'\n", ".env": "A=b\n"})
    kept = lineage.capture(params, {"data/raw": "ab" * 32}, "cpu, 3 threads")
    assert set(kept) == {lineage.LINEAGE, lineage.PATCH, lineage.ENVIRONMENT, lineage.LOCK}
    found = json.loads(kept[lineage.LINEAGE])
    assert found["git"]["commit"] == git("rev-parse", "HEAD")
    assert found["git"]["folder"] == ""
    assert found["inputs"] == {"data/raw": "ab" * 32}
    assert found["left_out"] == [{"path": ".env", "reason": "its name is that of a file with secrets"}]
    assert [file["path"] for file in found["kept_nowhere"]] == ["data/raw/rows.csv"]
    assert found["params"]["tracking"]["tags"] == {"url": "https://host/?token=***"}
    assert found["threads"] == 3
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["cpu"]
    assert b"pa55" not in b"".join(kept.values())
    pins = kept[lineage.ENVIRONMENT].decode().splitlines()
    assert f"torch=={metadata.version('torch')}" in pins
    assert pins == sorted(pins, key=lambda pin: pin.split("==")[0])
    assert not any(pin.startswith("reprise") for pin in pins)


def test_a_secret_in_dvc_lock_is_taken_out_and_the_rest_stays_readable(
    repository: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HUB_TOKEN", "planted-token-1")
    lock = "stages:\n  train:\n    params:\n      params.yaml:\n        a: planted-token-1\n        b: 'x # y'\n"
    write({"dvc.yaml": STAGES, "dvc.lock": lock})
    kept = lineage.capture(Params(), {}, "cpu")[lineage.LOCK]
    assert yaml.safe_load(kept)["stages"]["train"]["params"]["params.yaml"] == {"a": "(secret)", "b": "x # y"}
    monkeypatch.delenv("HUB_TOKEN")
    assert lineage.capture(Params(), {}, "cpu")[lineage.LOCK] == lock.encode()


def test_without_git_the_rest_is_captured(folder: Path):
    write({"dvc.yaml": STAGES})
    kept = lineage.capture(Params(), {}, "cpu")
    assert set(kept) == {lineage.LINEAGE, lineage.ENVIRONMENT}
    assert json.loads(kept[lineage.LINEAGE])["git"] is None


def test_outputs_have_both_digests(folder: Path):
    write({"dvc.yaml": STAGES, "models/best/model.safetensors": "abc"})
    ((path, content),) = lineage.outputs(dag.outputs("train")).items()
    assert path == "lineage/outputs/train.json"
    assert json.loads(content) == {
        "models/best": {"dvc": dag.md5(Path("models/best")), "sha256": digest.of_folder(Path("models/best"))}
    }
    assert lineage.outputs({}) == {}


def test_installed_distributions_are_those_that_python_knows():
    found = machine.installed()
    known = {each.metadata["Name"].lower().replace("_", "-").replace(".", "-") for each in metadata.distributions()}
    assert set(found) == known - {"reprise"}
    assert all(metadata.version(name) == found[name] for name in ("torch", "mlflow", "ruamel-yaml"))
