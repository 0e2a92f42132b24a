"""Scores as functions of arrays, one entry a row: several tasks share them, and a bootstrap calls them very often."""
