"""Scores by the field's libraries, as numbers a row that any subset of rows can be scored from."""
