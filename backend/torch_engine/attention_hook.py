"""Puts tree attention in the place of a `transformers` model's own, through its attention registry.

The registered function is stateless: what it needs of a step arrives as the keyword argument
`tree_step`, which the models hand down to their attention. No attention mask is ever built, because
none is registered under our name.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface

IMPLEMENTATION = "semlang_tree"
"""Our name in the registry, for `attn_implementation`."""

LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
"""What a layer may be; others (linear, chunked, recurrent) keep state that is not keys and values."""


class UnsupportedAttention(ValueError):
    """A model asks its attention for something that tree attention does not do."""


class TreeStep(Protocol):
    """What one forward pass knows of its step; layers call `attend` in order."""

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scale: float | None,
        window: int | None,
        soft_cap: float | None,
        sinks: Tensor | None,
    ) -> Tensor:
        """`query` [1, heads, rows, D], `key` and `value` of the new tokens [1, kv_heads, rows, D] to
        [1, rows, heads, D]."""


def attention_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention in the registry's form; result [1, rows, heads, D]."""
    step: TreeStep | None = options.get("tree_step")
    if step is None:
        raise UnsupportedAttention("its layers do not hand keyword arguments down to their attention")
    if attention_mask is not None:
        raise UnsupportedAttention("it builds an attention mask of its own")
    if options.get("is_causal") is False:
        raise UnsupportedAttention("it has attention that is not causal")
    if options.get("position_bias") is not None:
        raise UnsupportedAttention("it adds a position bias to attention scores")
    output = step.attend(
        query,
        key,
        value,
        scale=scaling if scaling is not None else getattr(module, "scaling", None),
        window=_window(module, options),
        soft_cap=options.get("softcap"),
        sinks=options.get("s_aux"),
    )
    return output, None


def _window(module: torch.nn.Module, options: dict[str, Any]) -> int | None:
    """The layer's sliding window in tokens, its own position included.

    Models that leave the window to their mask do not pass it; their configuration has it.
    """
    if "sliding_window" in options:
        window: int | None = options["sliding_window"]
        return window
    config: Any = getattr(module, "config", None)
    layer_types = getattr(config, "layer_types", None)
    layer = getattr(module, "layer_idx", None)
    if layer_types is not None and layer is not None and layer_types[layer] == "sliding_attention":
        window = config.sliding_window
        return window
    return None


AttentionInterface.register(IMPLEMENTATION, attention_forward)
