"""Reprise: one folder that describes how a transformer is trained, and trains it the same way again."""
