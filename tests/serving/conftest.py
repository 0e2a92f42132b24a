"""A tiny model that was exported once."""

from tests.serving.exported import model

__all__ = ["model"]
