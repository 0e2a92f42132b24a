"""What a task is: columns -> tokens -> model head -> loss -> predictions -> scores.

A task is one file in the folder above. The loop, the stages and the report know the class `Task` alone, and no task by
its name; a task of the user's own imports from here what it needs.
"""

from pipeline.tasks.base.batch import Batch, Collation, grouped_inputs, padded, padded_inputs
from pipeline.tasks.base.layout import Layout
from pipeline.tasks.base.predictions import GENERATED, Answer, Predictions, mean_loss, rows_of
from pipeline.tasks.base.task import Task, metric_for_best_model

__all__ = [
    "GENERATED",
    "Answer",
    "Batch",
    "Collation",
    "Layout",
    "Predictions",
    "Task",
    "grouped_inputs",
    "mean_loss",
    "metric_for_best_model",
    "padded",
    "padded_inputs",
    "rows_of",
]
