"""Stored cost models: found for the models of a command, and measured by `semc profile`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from . import messages

if TYPE_CHECKING:
    from ..backend.profile_store import Profile, ProfileKey


def key_of(engine: str, model: str | None, device: str, dtype: str = "auto") -> ProfileKey:
    """What a profile of `model` (None: the embedded one) on `device` is stored under. Raises ModelLoadError."""
    from ..backend.embedded import embedded_tokenizer_directory
    from ..backend.profile_store import profile_key
    from ..backend.torch_engine.model_directory import model_directory

    directory = embedded_tokenizer_directory() if model is None else model_directory(model)
    return profile_key(engine, Path(directory), device, dtype)


@lru_cache(maxsize=64)
def stored_profile(engine: str, model: str | None, device: str, dtype: str = "auto") -> Profile | None:
    """The measured profile, None where there is none; one that cannot be used is a notice, once."""
    from ..backend.profile_store import ProfileError, find_profile

    try:
        return find_profile(key_of(engine, model, device, dtype))
    except ProfileError as error:
        messages.note(f"{error}; the shipped costs are used")
        return None
