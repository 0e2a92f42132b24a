"""Scores: streamed predictions, intervals, figures, the report."""
