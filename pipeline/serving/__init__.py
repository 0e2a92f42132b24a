"""Answers from an exported model."""
