"""Rows: where they come from, how they are split, checked, stored and batched."""
