"""Loads a decoder with `transformers` and gives it our attention; every failure is a `ModelLoadError`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ModelLoadError, first_line
from .model_directory import model_directory

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

REMEDY = "download or export the model again"

DTYPES = ("float32", "bfloat16", "float16")
AUTO = "auto"
CONFIGURED_DTYPE = "semlang_dtype"
"""The key of a config.json that names the data type in which a model wants to run, whatever computes it."""
BFLOAT16_CAPABILITY = (8, 0)
"""The compute capability from which GPUs compute bfloat16."""


def load_model(model: str, *, device: str = "cpu", dtype: str | None = None) -> PreTrainedModel:
    """The model in the directory, or with the hub id, `model`, in evaluation mode on `device`.

    `dtype` is one of `DTYPES`; see `default_dtype` for `auto` and None. Weights are read from safetensors only.
    """
    directory = model_directory(model)
    # Imported here, so that a wrong name is reported at once and not after seconds of imports.
    from .attention_hook import IMPLEMENTATION
    from .memory import available_bytes, gibibytes

    _quiet()
    place = _device(device)
    config = _config(model, directory)
    _check_architecture(model, config)
    parameters = parameter_count(directory)
    kind = default_dtype(config, place) if dtype in (None, AUTO) else _dtype(dtype)
    free = available_bytes(place)
    if parameters is not None and free is not None and parameters * kind.itemsize > free:
        raise ModelLoadError(
            f"{model} needs {gibibytes(parameters * kind.itemsize)} for its weights on {place}, "
            f"where {gibibytes(free)} is free; use a smaller model or dtype"
        )
    try:
        loaded, info = _auto_model().from_pretrained(
            directory,
            config=config,
            dtype=kind,
            attn_implementation=IMPLEMENTATION,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises whatever its readers raise; all of it means one thing here
        raise ModelLoadError(f"cannot read the weights of {model}: {first_line(error)}; {REMEDY}") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelLoadError(f"{model} lacks {len(missing)} of its weights, {missing[0]} among them; {REMEDY}")
    try:
        placed: PreTrainedModel = loaded.to(place)
    except RuntimeError as error:
        raise ModelLoadError(f"{model} does not fit on {place}: {first_line(error)}; use a smaller model") from error
    placed.requires_grad_(False)
    placed.train(False)
    return placed


def default_dtype(config: Any, device: torch.device) -> torch.dtype:
    """What the config.json names under `semlang_dtype`; else bfloat16, where the device computes it.

    Otherwise float32 on a CPU and float16 on a GPU. Raises ModelLoadError for a name that is none of `DTYPES`.
    """
    import torch

    named = getattr(config, CONFIGURED_DTYPE, None)
    if named is not None:
        return _dtype(str(named), f"`{CONFIGURED_DTYPE}` in its config.json: ")
    if device.type == "cpu":
        return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= BFLOAT16_CAPABILITY else torch.float16


def _quiet() -> None:
    """No progress bars, and no warnings about what this module checks itself."""
    from transformers.utils import logging

    reporting: Any = logging
    reporting.set_verbosity_error()
    reporting.disable_progress_bar()


def _auto_model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM


def _device(name: str) -> torch.device:
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelLoadError(f"unknown device {name!r}; use cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelLoadError("device cuda was asked for, but torch finds no CUDA device; use cpu")
    if device.type not in ("cpu", "cuda"):
        raise ModelLoadError(f"the torch engine runs on cpu and cuda, not on {device.type}")
    return device


def _dtype(name: str | None, where: str = "") -> torch.dtype:
    import torch

    if name not in DTYPES:
        raise ModelLoadError(f"{where}unknown dtype {name!r}; use one of {', '.join(DTYPES)}")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _config(model: str, directory: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(directory, local_files_only=True)
    except Exception as error:  # as for the weights
        raise ModelLoadError(f"cannot read the config.json of {model}: {first_line(error)}; {REMEDY}") from error


def _check_architecture(model: str, config: Any) -> None:
    """Raise ModelLoadError unless the model is a decoder whose attention can be replaced."""
    from .attention_hook import LAYER_TYPES

    architectures = _auto_model()._model_mapping
    refusal = f"{model} is a {config.model_type} model, which cannot run on the torch engine: "
    if type(config) not in architectures:
        raise ModelLoadError(refusal + "it is no text decoder of transformers")
    architecture = architectures[type(config)]
    if not architecture.is_backend_compatible():
        raise ModelLoadError(refusal + f"the attention of {architecture.__name__} cannot be replaced")
    text = config.get_text_config()
    others = set(getattr(text, "layer_types", None) or ()) - LAYER_TYPES
    if others:
        raise ModelLoadError(refusal + f"it has layers of type {', '.join(sorted(others))}")
    if getattr(text, "is_causal", True) is False or getattr(text, "use_bidirectional_attention", None):
        raise ModelLoadError(refusal + "its attention is not causal")


def parameter_count(directory: Path) -> int | None:
    """Parameters in the directory's safetensors files, from their headers; None without such files.

    A file that cannot be read counts nothing: loading it will say what is wrong.
    """
    files = sorted(directory.glob("model*.safetensors"))
    return sum(_file_parameters(file) for file in files) if files else None


def _file_parameters(file: Path) -> int:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > file.stat().st_size:
                return 0
            header = json.loads(stream.read(length))
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return 0
    total = 0
    for shape in shapes:
        size = 1
        for extent in shape:
            size *= extent
        total += size
    return total
