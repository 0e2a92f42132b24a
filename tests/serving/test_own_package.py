"""A version whose task and model class are the user's own carries their package, and answers where it is not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline import tasks
from pipeline.data.tokenizer import train as train_tokenizer
from pipeline.model.build import build
from pipeline.model.export import export
from pipeline.params import Hardware, Model, Params, Tokenizer
from pipeline.serving import package
from pipeline.serving.predictor import Predictor
from tests.conftest import REPOSITORY, TINY_BERT, texts_and_labels
from tests.serving.exported import asked
from tests.tasks.cases import OWN

ELSEWHERE = """
import json, sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
print(model.predict(pd.DataFrame({"text": ["good fine day"]})).to_json(orient="records"))
print(json.dumps([module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "own_package"]))
"""


def test_it_answers_elsewhere_as_it_does_here(folder: Path) -> None:
    shutil.copytree(REPOSITORY / "tests" / OWN, folder / OWN)
    params = Params(
        task=f"{OWN}.focal",
        model=Model(config=TINY_BERT, **{"class": f"{OWN}.models.MeanPooled"}),
        tokenizer=Tokenizer(vocab_size=400, max_seq_length=16),
    )
    task = tasks.find(params.task)(labels=("bad", "good"), model_class=params.model.class_)
    tokenizer = train_tokenizer(texts_and_labels(100, 0)[0], params.tokenizer)
    torch.manual_seed(3)
    export(build(params, task, tokenizer), tokenizer, task, params, folder / "best")

    here = Predictor.load(folder / "best", Hardware(use_cpu=True))
    assert type(here._model).__name__ == "MeanPooled"
    package.write(folder / "best", folder / "packed", None, {})
    (away := folder / "away").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", ELSEWHERE, str(folder / "packed")]
    done = subprocess.run(command, cwd=away, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (answer,), files = map(json.loads, done.stdout.splitlines())
    (ours,) = here.answer(asked(["good fine day"]))
    assert answer["label"] == ours["label"]
    assert answer["probability"] == pytest.approx(ours["probability"])
    assert len(files) == 3, "the package, the task and the model"
    assert all(Path(file).is_relative_to(folder / "packed") for file in files)
