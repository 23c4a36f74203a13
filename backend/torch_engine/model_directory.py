"""From what users call a model (a directory, or an id on the Hugging Face hub) to a directory with its files.

Needs neither torch nor transformers, so that a wrong name is reported at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from .errors import ModelLoadError, first_line

FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
"""What is fetched of a hub model: configuration, weights, tokenizer, chat template."""
OTHER_FILES = ["*/*", "consolidated*"]
"""What is not: the same weights in other formats."""

REACH_SECONDS = 5.0
"""How long the hub may take to answer before the local cache is all there is."""


def model_directory(model: str) -> Path:
    """The directory of `model`; the hub is asked only where there is no directory of that name.

    Raises ModelLoadError when there is no such model, or none that the hub lets us have.
    """
    path = Path(model)
    if os.path.isdir(model):  # unlike Path.is_dir, false for names that no file can have
        if not (path / "config.json").is_file():
            raise ModelLoadError(f"{model} has no config.json, so it is no model directory")
        return path
    if os.path.exists(model):
        raise ModelLoadError(f"{model} is a file; name the directory that holds config.json and the weights")
    if not model or path.is_absolute() or model.startswith((".", "~")) or len(path.parts) > 2:
        raise ModelLoadError(f"there is no directory {model or 'with an empty name'}")
    return _from_hub(model)


def _from_hub(model: str) -> Path:
    """The snapshot of a hub model: fetched or brought up to date when the hub answers, else from the cache."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import snapshot_download, utils
        from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError
        from huggingface_hub.errors import RepositoryNotFoundError as NotFound
    except ImportError as error:
        raise ModelLoadError(
            f"there is no directory {model}, and the hub needs more packages: pip install 'semlang[torch]'"
        ) from error
    tools: Any = utils
    tools.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        tools.disable_progress_bars()
    offline = not _hub_answers()
    missing = f"there is no directory {model}, and "
    try:
        found = snapshot_download(model, allow_patterns=FILES, ignore_patterns=OTHER_FILES, local_files_only=offline)
    except HFValidationError as error:
        raise ModelLoadError(f"there is no directory {model}, and it is no name of a hub model") from error
    except LocalEntryNotFoundError as error:
        raise ModelLoadError(
            missing + "the hub cannot be reached; check the network, or name a directory that holds the model"
        ) from error
    except GatedRepoError as error:
        raise ModelLoadError(
            missing + "the hub gives it only to users who accepted its terms; do so there and set HF_TOKEN"
        ) from error
    except NotFound as error:
        raise ModelLoadError(
            missing + "the hub has no public model of that name; check it, or set HF_TOKEN if it is private"
        ) from error
    except Exception as error:  # a broken connection, a full disk
        raise ModelLoadError(
            f"{model} could not be fetched from the hub: {first_line(error)}; try again, or name a directory"
        ) from error
    if not (Path(found) / "config.json").is_file():
        raise ModelLoadError(f"the hub's {model} has no config.json, so it is no transformers model")
    return Path(found)


def _hub_answers() -> bool:
    """Whether the hub can be reached; asked once, because its own client tries for half a minute."""
    from huggingface_hub import constants, utils

    tools: Any = utils
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        tools.get_session().head(constants.ENDPOINT, timeout=REACH_SECONDS)
    except Exception:  # of the HTTP library, which differs between versions
        return False
    return True
