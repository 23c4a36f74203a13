"""What a model computes by itself, with the attention that `transformers` gives it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from .attention_hook import IMPLEMENTATION
from .errors import ModelLoadError, first_line


def plain_logits(model: PreTrainedModel, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits after the last token, by transformers' own attention."""
    model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            logits = model(input_ids=torch.from_numpy(ids[None]).to(model.device), use_cache=False).logits
    except Exception as error:  # whatever the model's code raises
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ModelLoadError(f"{type(model).__name__} fails by itself ({reason}); check its config.json") from error
    finally:
        model.set_attn_implementation(IMPLEMENTATION)
    last: NDArray[np.float32] = logits[0, -1].float().cpu().numpy()
    return last
