"""Scores of kinds of tasks, as functions of a few numbers a row; no task is known here."""
