import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline import cli, params_file, project
from pipeline.cli import init
from pipeline.errors import UserError
from pipeline.params import Hardware, Params, Train
from tests.conftest import REPOSITORY, texts_and_labels
from tests.serving.exported import export_tiny_model

Init = Callable[..., Result]
BACKUP = Path("params.yaml.bak")
TEXTS, IDS = texts_and_labels(40, seed=5, labels=3)
LABELS = [("sorry", "glad", "calm")[place] for place in IDS]


def write(path: str, lines: list[str]) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def csv(path: str, header: str = "text,label") -> Path:
    return write(path, [header, *(f"{text},{label}" for text, label in zip(TEXTS, LABELS, strict=True))])


def tsv(path: str) -> Path:
    return write(path, [f"{text}\t{label}" for text, label in zip(TEXTS, LABELS, strict=True)])


@pytest.fixture
def run(folder: Path) -> Init:
    """The command, in an empty project."""
    return lambda *arguments, stdin=None: CliRunner().invoke(init.command, [str(one) for one in arguments], input=stdin)


def written(result: Result) -> Params:
    """What params.yaml says after a good end."""
    assert result.exception is None, result.exception
    assert result.stdout.endswith(("    dvc repro\n", "    make run    # tells DVC that there is no git here\n"))
    assert not list(Path().glob("*.unfinished"))
    return params_file.read(project.PARAMS)


def refused(result: Result) -> str:
    """What the user is told."""
    assert isinstance(result.exception, UserError), result.exception or result.stdout
    return str(result.exception)


def test_a_csv_with_its_siblings(run: Init):
    for name in ("train", "dev", "test"):
        csv(f"data/raw/moods/{name}.csv", "sentence,mood")
    result = run("data/raw/moods/train.csv")
    params = written(result)
    assert params.data.dataset_name is None
    assert params.data.train_file == "data/raw/moods/train.csv"
    assert params.data.validation_file == "data/raw/moods/dev.csv"
    assert params.data.test_file == "data/raw/moods/test.csv"
    assert params.data.column_names is None
    assert (params.data.text_column_names, params.data.label_column_name) == (["sentence"], "mood")
    assert params.tracking.experiment_name == "moods"


def test_shows_three_rows_of_different_labels_and_why_it_chose(run: Init):
    write("data/raw/train.csv", ["text,kind", *["[red] same text,calm"] * 30, "another,glad", "a third one,sorry"])
    shown = run("data/raw/train.csv").stdout
    for line, text, label in ((2, "[red] same text", "calm"), (32, "another", "glad"), (33, "a third one", "sorry")):
        assert any(row.split() == [f"train.csv:{line}", *text.split(), label] for row in shown.splitlines())
    assert "3 labels, 1 to 30 rows each" in " ".join(shown.split())
    assert "none found; 10% of the rows are cut off for it" in " ".join(shown.split())


def test_a_tsv_without_a_header(run: Init):
    for name in ("train", "valid"):
        tsv(f"data/raw/{name}.tsv")
    params = written(run("data/raw/train.tsv"))
    assert params.data.column_names == ["text", "label"]
    assert (params.data.text_column_names, params.data.label_column_name) == (["text"], "label")
    assert (params.data.validation_file, params.data.test_file) == ("data/raw/valid.tsv", None)


def test_pairs_and_other_formats(run: Init):
    row = '{{"premise": "{}", "hypothesis": "so it is", "gold_label": "{}", "id": 7}}'
    write("data/raw/nli.jsonl", [row.format(text, label) for text, label in zip(TEXTS, LABELS, strict=True)])
    params = written(run("data/raw/nli.jsonl"))
    assert params.data.text_column_names == ["premise", "hypothesis"]
    assert params.data.label_column_name == "gold_label"
    assert params.tracking.experiment_name == "nli"


def test_options_overrule_the_guess(run: Init):
    lines = [
        f"{text},{label},the same,{place % 2}" for place, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))
    ]
    write("data/raw/train.csv", ["text,label,note,odd", *lines])
    params = written(
        run("data/raw/train.csv", "--label-column", "odd", "--text-column", "note", "--text-column", "text")
    )
    assert (params.data.text_column_names, params.data.label_column_name) == (["note", "text"], "odd")
    told = refused(run("data/raw/train.csv", "--label-column", "lable"))
    assert told.startswith(
        "--label-column: 'lable' is not in data/raw/train.csv; its columns are text, label, note, odd."
    )
    assert "Did you mean 'label'?" in told


def test_options_for_a_file_without_a_header_name_columns_by_their_place(run: Init):
    write(
        "data/raw/train.tsv",
        [f"{place % 2}\t{text}\t{label}" for place, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))],
    )
    assert written(run("data/raw/train.tsv")).data.column_names == ["label", "text", "column_3"]
    params = written(run("data/raw/train.tsv", "--label-column", "column_3", "--force"))
    assert params.data.column_names == ["column_1", "text", "label"]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["text,mood", "a,glad"], "'label' is not in data/raw/test.csv; its columns are text, mood"),
        (["text,label", "a,-1", "b,-1"], "none of the training rows' labels"),
        (["text,label"], "no row follows"),
        (["a longer text that is a text,glad", "b,calm", "c,glad"], "only one of the two has a header"),
    ],
)
def test_a_sibling_that_does_not_fit_is_left_out_and_told(run: Init, lines: list[str], why: str):
    csv("data/raw/train.csv")
    write("data/raw/test.csv", lines)
    result = run("data/raw/train.csv")
    assert written(result).data.test_file is None
    assert "Note: data/raw/test.csv is not taken as test_file" in result.stdout
    assert why in result.stdout


def test_a_pretrained_model(run: Init):
    csv("data/raw/train.csv")
    export_tiny_model(project.MODELS / "tiny")
    params = written(run("data/raw/train.csv", "--model", "data/models/tiny"))
    assert (params.model.model_name_or_path, params.model.config) == ("data/models/tiny", None)
    assert params.train.learning_rate < 5e-4


def test_works_from_a_folder_below_the_project(run: Init, folder: Path, monkeypatch: pytest.MonkeyPatch):
    csv("data/raw/train.csv")
    export_tiny_model(project.MODELS / "tiny")
    (folder / "dvc.yaml").touch()
    monkeypatch.chdir(folder / "data" / "raw")
    outcome = CliRunner().invoke(cli.reprise, ["init", "train.csv", "--model", "../models/tiny"])
    assert outcome.exception is None
    params = params_file.read(folder / project.PARAMS)
    assert (params.data.train_file, params.model.model_name_or_path) == ("data/raw/train.csv", "data/models/tiny")


def test_a_link_below_data_raw_is_a_file_below_data_raw(run: Init, tmp_path_factory: pytest.TempPathFactory):
    # DVC's cache, or a disk of its own for large files.
    disk = tmp_path_factory.mktemp("disk")
    csv(str(disk / "moods.csv"))
    project.RAW.mkdir(parents=True)
    (project.RAW / "train.csv").symlink_to(disk / "moods.csv")
    assert written(run("data/raw/train.csv")).data.train_file == "data/raw/train.csv"


# What is not there, or does not fit


def test_a_file_elsewhere_gets_the_command_that_copies_it(run: Init, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = csv(str(tmp_path_factory.mktemp("other place") / "train.csv"))
    told = refused(run(elsewhere))
    assert f"cp '{elsewhere}' data/raw/ && reprise init data/raw/train.csv" in told
    assert not project.PARAMS.exists()


def test_a_file_that_is_not_there_names_the_nearest(run: Init):
    csv("data/raw/train.csv")
    assert "Did you mean 'data/raw/train.csv'?" in refused(run("data/raw/trian.csv"))
    assert "nowhere/train.csv. Did you mean 'data/raw/train.csv'?" in refused(run("nowhere/train.csv"))
    assert "name one" in refused(run("data/raw"))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "is empty"),
        (["text,label"], "no row follows"),
        (["text,label", *["a,same"] * 5], "a classifier needs at least two labels"),
        (["text", *["a", "b"] * 5], "--label-column NAME"),
        (["text,label", "a,x", "b"], "line 3"),
        (["text;label", "a;x"], "separated by"),
    ],
)
def test_rows_that_are_none_for_this_task(run: Init, lines: list[str], told: str):
    write("data/raw/train.csv", lines)
    assert told in refused(run("data/raw/train.csv"))
    assert not project.PARAMS.exists()


def test_a_wrong_model_leaves_params_as_they_are(run: Init):
    csv("data/raw/train.csv")
    before = params_file.render(Params())
    project.PARAMS.write_text(before)
    assert "model.model_name_or_path" in refused(run("data/raw/train.csv", "--model", "data/models/none", "--force"))
    assert project.PARAMS.read_text() == before


# A params.yaml that is there


def changed() -> str:
    text = params_file.render(Params(train=Train(learning_rate=1e-3), hardware=Hardware(num_threads=3)))
    project.PARAMS.write_text(text)
    return text


def test_the_default_params_are_replaced_without_a_question(run: Init):
    csv("data/raw/train.csv")
    project.PARAMS.write_text(params_file.render(Params()))
    assert written(run("data/raw/train.csv")).data.train_file == "data/raw/train.csv"
    assert not BACKUP.exists()


def test_changed_params_stay_without_force_and_force_keeps_a_backup(run: Init):
    csv("data/raw/train.csv")
    text = changed()
    assert "--force" in refused(run("data/raw/train.csv"))
    assert (project.PARAMS.read_text(), BACKUP.exists()) == (text, False)
    params = written(run("data/raw/train.csv", "--force"))
    assert (BACKUP.read_text(), params.train, params.hardware.num_threads) == (text, Params().train, 3)
    other = project.PARAMS.read_text().replace("seed: 42", "seed: 43")
    project.PARAMS.write_text(other)
    assert "params.yaml.bak2 keeps the params.yaml" in run("data/raw/train.csv", "--force").stdout
    assert (BACKUP.read_text(), Path("params.yaml.bak2").read_text()) == (text, other)


def test_in_a_clone_the_next_command_is_that_of_dvc(run: Init, folder: Path):
    (folder / ".git").mkdir()
    csv("data/raw/train.csv")
    assert run("data/raw/train.csv").stdout.endswith("Then train:\n\n    dvc repro\n")


def test_the_same_again_asks_nothing(run: Init):
    csv("data/raw/train.csv")
    first = written(run("data/raw/train.csv"))
    assert written(run("data/raw/train.csv")) == first
    assert not BACKUP.exists()


@pytest.mark.parametrize(("answer", "replaced"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_it_asks(run: Init, monkeypatch: pytest.MonkeyPatch, answer: str, replaced: bool):
    monkeypatch.setattr(init, "_is_interactive", lambda: True)
    csv("data/raw/train.csv")
    text = changed()
    result = run("data/raw/train.csv", stdin=answer)
    assert "Replace it?" in result.stdout
    if replaced:
        assert written(result).data.train_file == "data/raw/train.csv"
        assert BACKUP.read_text() == text
    else:
        assert "stays as it is" in refused(result)
        assert (project.PARAMS.read_text(), BACKUP.exists()) == (text, False)


def test_params_that_git_has_are_replaced_without_a_question(run: Init):
    csv("data/raw/train.csv")
    changed()
    name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "params.yaml"], [*name, "commit", "-q", "--no-verify", "-m", "mine"]):
        subprocess.run(["git", *command], check=True)
    assert written(run("data/raw/train.csv")).data.train_file == "data/raw/train.csv"
    assert not BACKUP.exists()
    changed()
    project.PARAMS.write_text(project.PARAMS.read_text().replace("num_threads: 3", "num_threads: 4"))
    assert "--force" in refused(run("data/raw/train.csv"))


def test_help_waits_for_no_torch(tmp_path: Path):
    program = (
        "import sys\nfrom pipeline.cli.init import command\nfrom click.testing import CliRunner\n"
        "assert '--model' in CliRunner().invoke(command, ['--help']).output\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env=environment)
