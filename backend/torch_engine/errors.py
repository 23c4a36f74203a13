"""The error that loading a model raises; importing it does not import torch."""

from __future__ import annotations


class ModelLoadError(ValueError):
    """A model cannot be loaded or held; the message names the model and a remedy and is for users."""


def first_line(error: Exception) -> str:
    """What a library's exception says, on one line."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".: ") if lines else type(error).__name__
