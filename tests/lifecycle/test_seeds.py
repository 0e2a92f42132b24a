"""Seeds are run one after another as experiments, and their runs are one group (tests/stages runs real ones)."""

import pytest
from mlflow import MlflowClient

from pipeline.errors import UserError
from pipeline.lifecycle import seeds
from pipeline.params import Params
from tests.lifecycle.evaluated import answers, made, table

ROWS = table(60)


def test_each_seed_is_an_experiment_and_their_runs_are_grouped(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = []

    def dvc(*command: str, quiet: bool = False) -> int:
        commands.append(command)
        if command[1] == "run":
            seed = int(command[-1].removeprefix("train.seed="))
            made(command[command.index("--name") + 1], answers(ROWS, 0.7, seed), seed=seed)
        return 0

    monkeypatch.setattr(seeds, "_dvc", dvc)
    found = seeds.run(Params(), 3, first=7)
    assert [run.params["train.seed"] for run in found.runs] == ["7", "8", "9"]
    assert found.name.endswith("-7-9")
    values = [run.metrics["test/accuracy"] for run in found.runs]
    assert found.scores["test/accuracy"] == pytest.approx(sum(values) / 3)
    assert found.scores["test/accuracy_std"] > 0
    assert client.get_run(found.id).info.run_name == found.name
    assert [command[1] for command in commands] == ["remove", "run"] * 3
    assert all("--temp" in command for command in commands if command[1] == "run")
    assert "seeds: train.seed 8, 2 of 3" in capsys.readouterr().out


def test_params_that_differ_in_their_seed_alone_have_one_name(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    monkeypatch.setattr(seeds, "_dvc", lambda *command, quiet=False: names.append(command[2]) or 1)
    params = Params()
    for train in ({"seed": 1}, {"seed": 2}, {"learning_rate": 1e-4}):
        changed = params.model_copy(update={"train": params.train.model_copy(update=train)})
        with pytest.raises(UserError, match=r"The experiment with train\.seed 5 failed"):
            seeds.run(changed, 2, first=5)
    removed = names[::2]
    assert removed[0] == removed[1] != removed[2]
