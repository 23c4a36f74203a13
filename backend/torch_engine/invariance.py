"""Whether a model on a GPU gives each row the same numbers in any company, attention aside: by its parts, and tried."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...kernels.triton.elementwise import RmsNorm
from ...kernels.triton.linear import InvariantLinear
from .errors import ModelLoadError
from .fused_attention import Handed

ROW_BY_ROW = (InvariantLinear, RmsNorm, nn.Embedding)
"""Modules with weights whose result for a row is the same in any company, to the last bit."""
COMPANIES = (2, 9, 70)
"""Rows of the steps that are tried."""
ADVICE = "leave `batch_invariant` out, or use another model"


def check_invariant(model: PreTrainedModel, token_ids: int) -> None:
    """Raise ModelLoadError where a module with weights is none that treats each row by itself, and where the logits
    of random tokens, below `token_ids`, differ in a bit from those of each alone; each attends to itself only."""
    others = {type(module).__name__ for module in model.modules()
              if list(module.parameters(recurse=False)) and type(module) not in ROW_BY_ROW}
    if others:
        raise ModelLoadError("results that do not depend on the batch are not known of the model's "
                             f"{', '.join(sorted(others))}; {ADVICE}")
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, token_ids, (max(COMPANIES),), generator=generator)
    positions = torch.randint(0, 32, (max(COMPANIES),), generator=generator)
    with torch.inference_mode():
        alone = [_logits(model, tokens[row : row + 1], positions[row : row + 1])[0] for row in range(3)]
        for count in COMPANIES:
            order = torch.arange(count).roll(count // 2)
            together = _logits(model, tokens[order], positions[order])
            rows = [int((order == row).nonzero()) for row in range(min(3, count))]
            if any(not torch.equal(together[place], alone[row]) for row, place in enumerate(rows)):
                raise ModelLoadError(f"the logits of {type(model).__name__} depend on the batch by a bit; {ADVICE}")


def _logits(model: PreTrainedModel, tokens: Tensor, positions: Tensor) -> Tensor:
    where: Any = model.device
    output: Any = model(input_ids=tokens[None].to(where), position_ids=positions[None].to(where), use_cache=False,
                        tree_step=Handed())
    logits: Tensor = output.logits[0]
    return logits
