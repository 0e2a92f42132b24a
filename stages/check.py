"""Look at everything that can be wrong before DVC deletes the outputs of an earlier run."""

from pipeline import own, project
from pipeline.data import slices, sources
from pipeline.errors import UserError, did_you_mean
from pipeline.model.check import check as check_model
from pipeline.params import Params
from pipeline.tasks import find
from pipeline.tasks.base import Task
from pipeline.tasks.base.prepare import prepare_rows
from pipeline.tracking.store import tracking_uri
from stages.run import main

_ROWS = 50_000
_ROWS_OF_THE_EMBEDDED = 200


def check(params: Params) -> None:
    """Check the params, the tracking URI, the heads of the data files, and the fit of tokenizer, model and lengths.

    What it writes never changes, so that a change of one section re-runs only the stages that depend on it.
    """
    tracking_uri()
    own.check_watched(params)
    task = find(params.task)
    own.check_metrics(params.evaluate.metrics, (*task.score_names, "loss"))
    if params.tokenizer.over_length not in (None, *task.over_length):
        raise UserError(
            f"params.yaml: tokenizer.over_length: {params.task} knows no {params.tokenizer.over_length}; it knows "
            f"{', '.join(task.over_length)}."
        )
    _check_metric(params, task)
    embedded = params.data.source == sources.EMBEDDED
    heads = sources.head(params.data, _ROWS_OF_THE_EMBEDDED if embedded else _ROWS, task.wanted(params.data))
    for table in heads.values():
        task.check_columns(table, params.data)
    slices.check(heads, task.layout_of(heads["train"], params.data).texts, params)
    if not embedded and all(len(table) < _ROWS for table in heads.values()):
        # The heads are all there is: what prepare will do with them can be tried.
        found, _, _ = prepare_rows(task, heads, params.data)
        found.check_train(params.train)
    for warning in check_model(params, task):
        print(f"check: warning: {warning}")
    project.CHECKED.write_text("params.yaml, data and model were checked\n", encoding="utf-8")


def _check_metric(params: Params, task: type[Task]) -> None:
    """Raise a UserError unless the score that picks the best model is one that is known while training."""
    metric = params.train.metric_for_best_model
    known = [name for name in (*task.score_names, "loss") if name not in task.generated_scores]
    if params.train.own_metric is not None:
        own.check_metrics([params.train.own_metric], (*task.score_names, "loss"))
        return
    if metric is None or metric in known:
        return
    late = metric in task.generated_scores
    why = f"'{metric}' needs texts, which are written after training" if late else f"there is no score '{metric}'"
    raise UserError(
        f"params.yaml: train.metric_for_best_model: {why}; {params.task} has {', '.join(known)}."
        f"{'' if late else did_you_mean(metric, known)}"
    )


if __name__ == "__main__":
    main(check)
