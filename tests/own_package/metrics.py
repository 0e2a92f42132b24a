"""Scores of our own: each takes the predictions of any rows of a split, and returns one number."""

import numpy as np

from pipeline.tasks.base import Predictions


def cost_error(predictions: Predictions) -> float:
    """The mean cost of a row: a negative text that is taken for a positive one costs 5, the other way round 1."""
    target, prediction = predictions["target"], predictions["prediction"]
    return float(np.where(target < prediction, 5, target > prediction).mean())


def row_accuracy(predictions: Predictions) -> float:
    """The share of the rows in which every target is right."""
    return float((predictions["right"] == predictions["targets"]).mean())
