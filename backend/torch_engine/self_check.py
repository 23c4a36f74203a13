"""Compares a model of an architecture that no test covers with plain `transformers`, before it is used.

Attention that ignores positions, mixes the tokens of a packed row or adds terms of its own would give
wrong answers without an error; a few tokens in the shape of a small tree bring it to light.
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import PreTrainedModel

from ..model_runner import KVRun, Segment, StepBatch
from .errors import ModelLoadError
from .plain_logits import plain_logits
from .runner import TorchRunner

VERIFIED = frozenset({
    "apertus", "arcee", "cohere", "cohere2", "deepseek_v3", "exaone4", "gemma", "gemma2", "gemma3_text", "glm4",
    "gpt2", "gpt_bigcode", "gpt_neox", "gpt_oss", "granite", "granitemoe", "llama", "mistral", "mixtral", "olmo2",
    "olmo3", "opt", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "smollm3", "starcoder2",
})  # fmt: skip
"""Model types whose logits the tests compare with plain `transformers` on tiny configurations."""

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}
"""Relative distance of logits that is still rounding, by dtype; 16-bit types have `HALF_TOLERANCE`."""
HALF_TOLERANCE = 0.1

PREFIX, BRANCH = 9, 4


def check_model(model: PreTrainedModel, runner: TorchRunner) -> None:
    """Raise ModelLoadError unless `runner` gives the logits of `model` by itself. Replaces the runner's pool."""
    ids = np.random.default_rng(0).integers(0, runner.vocabulary_size, PREFIX + 2 * BRANCH)
    prefix, first, second = ids[:PREFIX], ids[PREFIX : PREFIX + BRANCH], ids[PREFIX + BRANCH :]
    expected = np.stack([plain_logits(model, np.concatenate([prefix, branch])) for branch in (first, second)])
    # Slots out of order, so that a model that attends by itself to its packed row cannot be right.
    slots = np.arange(len(ids))[::-1].copy()
    runner.allocate(len(ids))
    run = KVRun(node=1, slots=slots[:PREFIX], first_position=0)
    runner.run(StepBatch((), (Segment(prefix, run.slots, 0, (), wants_logits=False),)))
    branches = (
        Segment(first, slots[PREFIX : PREFIX + BRANCH], PREFIX, (0,), wants_logits=True),
        Segment(second, slots[PREFIX + BRANCH :], PREFIX, (0,), wants_logits=True),
    )
    found = runner.run(StepBatch((run,), branches))
    difference = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    if not difference <= TOLERANCE.get(runner.dtype, HALF_TOLERANCE):
        raise ModelLoadError(
            f"{type(model).__name__} gives other logits on the torch engine than by itself "
            f"(relative difference {difference:.1g}), so its attention cannot be replaced; use another"
        )
