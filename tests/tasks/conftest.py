"""The projects of the cases, each made once a session."""

from pathlib import Path

import pytest
import torch
from safetensors.numpy import save_file
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pipeline import project, tasks
from pipeline.evaluation.reference import ask
from pipeline.model.build import build
from pipeline.params import Params
from pipeline.tasks.base import Collation, Task
from pipeline.world import World
from tests.tasks.cases import CASES, Case, make

REFERENCE = Path("reference.safetensors")


@pytest.fixture(scope="session", params=CASES, ids=str)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """A case, and its folder after the stages check, prepare and tokenize."""
    case: Case = request.param
    folder = tmp_path_factory.mktemp("case")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        make(case, folder)
        _keep_reference(case)
    return case, folder


def _keep_reference(case: Case) -> None:
    """What another model says of all examples, for a task that compares with it."""
    params, task = case.whole_params(), tasks.load(case.whole_params())
    encoder = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    said = {}
    if task.needs_reference:
        torch.manual_seed(7)
        model = build(params, task, encoder)
        said = ask(model, task, params, Collation(model.config, encoder), World.start(params.hardware, "fp32"))
    save_file(said, REFERENCE)


@pytest.fixture
def case(made: tuple[Case, Path], monkeypatch: pytest.MonkeyPatch) -> Case:
    """A case, in whose folder the test runs, and which it does not change."""
    monkeypatch.chdir(made[1])
    return made[0]


@pytest.fixture
def params(case: Case) -> Params:
    return case.whole_params()


@pytest.fixture
def task(case: Case, params: Params) -> Task:
    return tasks.load(params, params.evaluate.metrics)


@pytest.fixture
def tokenizer(case: Case) -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(project.TOKENIZED / "tokenizer")
    return loaded


@pytest.fixture
def model(task: Task, params: Params, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    torch.manual_seed(0)
    return build(params, task, tokenizer).eval()


@pytest.fixture
def collation(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Collation:
    return Collation(model.config, tokenizer, epoch=2)
