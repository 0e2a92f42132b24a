"""A few lines become a whole params.yaml."""

import subprocess
from pathlib import Path

from click.testing import CliRunner

from pipeline import params_file
from pipeline.cli.params import command
from pipeline.params import Params, Tokenizer
from tests.conftest import REPOSITORY


def test_what_is_said_stays_and_every_other_key_is_written(folder: Path) -> None:
    few = folder / "few.yaml"
    few.write_text("version: 1\ntask: causal-lm\ntokenizer: {max_seq_length: 128}\n")
    assert CliRunner().invoke(command, [str(few)]).exit_code == 0
    whole = Params(task="causal-lm", tokenizer=Tokenizer(max_seq_length=128))
    assert Path("params.yaml").read_text() == params_file.render(whole)
    assert few.read_text().startswith("version: 1"), "the file itself stays"
    before = Path("params.yaml").read_bytes()
    assert CliRunner().invoke(command).exit_code == 0
    assert Path("params.yaml").read_bytes() == before, "what is whole stays as it is"


def test_what_nobody_else_keeps_is_kept_beside_it(folder: Path) -> None:
    own = params_file.render(Params(task="sft")).replace("task:", "# mine\ntask:")
    for place, name in enumerate(("params.yaml.bak", "params.yaml.bak2")):
        Path("params.yaml").write_text(own)
        Path("few.yaml").write_text(f"task: causal-lm\ntokenizer: {{max_seq_length: {128 + place}}}\n")
        said = CliRunner().invoke(command, ["few.yaml"]).output
        assert said.startswith(f"{name} keeps the params.yaml that was here.\n")
        assert Path(name).read_text() == own
    Path("params.yaml").write_text(params_file.render(Params()))
    assert "keeps" not in CliRunner().invoke(command, ["few.yaml"]).output, "every project begins with this one"
    assert not Path("params.yaml.bak3").exists()


def test_what_git_has_elsewhere_under_the_same_name_is_another_file(folder: Path) -> None:
    Path("params.yaml").write_text("version: 1\ntask: causal-lm\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "params.yaml"], [*identity, "commit", "-qm", "Begin"]):
        subprocess.run(["git", *words], check=True)
    Path("other").mkdir()
    Path("other/params.yaml").write_text("version: 1\ntask: sft\n")
    assert CliRunner().invoke(command, ["--output", "other/params.yaml"]).exit_code == 0
    assert Path("other/params.yaml.bak").read_text() == "version: 1\ntask: sft\n"


def test_every_example_is_valid() -> None:
    examples = sorted((REPOSITORY / "examples").glob("*/params.yaml"))
    assert len(examples) > 5
    for example in examples:
        assert params_file.read(example).data.dataset_name == "docstrings", "it runs offline"
