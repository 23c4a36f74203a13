"""A model's attention module with fewer launches around its attention: queries, keys and values come from one linear
layer, and one kernel rotates queries and keys by their positions.

What a module computes is asked of the module: it is replaced where it has the linear layers with the usual names and
hands to attention, on random numbers, what the new one hands to it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...kernels.triton.elementwise import joined, rotate

CLOSE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
"""Relative distance that is still rounding."""
PARTS = ("q_proj", "k_proj", "v_proj", "o_proj")
NORMS = ("q_norm", "k_norm")
POSITIONS = (3, 700, 40_000)
"""Of the random numbers: so different that a module which scales by position shows it."""


class Handed:
    """A step that keeps what a layer hands to attention, which gives each token its own value."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.options: dict[str, Any] = {}

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        """See `attention_hook.TreeStep`."""
        self.tensors, self.options = [query, key, value], options
        return value.repeat_interleave(query.shape[1] // value.shape[1], dim=1).transpose(1, 2)


class FusedAttention(nn.Module):
    """Does what `module` does, which has handed `handed` to attention."""

    def __init__(self, module: Any, handed: Handed) -> None:
        super().__init__()
        query, key, _ = handed.tensors
        self.heads, self.kv_heads, self.size = query.shape[1], key.shape[1], query.shape[-1]
        self.inputs = joined([module.q_proj, module.k_proj, module.v_proj])
        self.output = module.o_proj
        self.query_norm, self.key_norm = (getattr(module, name, None) for name in NORMS)
        self.options = handed.options

    def forward(self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor],
                attention_mask: Tensor | None = None, **options: Any) -> tuple[Tensor, None]:
        """As the forward of a `transformers` attention module without a cache."""
        numbers = self.inputs(hidden_states).unflatten(-1, (-1, self.size))
        query, key, value = numbers.split([self.heads, self.kv_heads, self.kv_heads], dim=-2)
        query = query if self.query_norm is None else self.query_norm(query)
        key = key if self.key_norm is None else self.key_norm(key)
        angles = (part.expand(*query.shape[:2], -1).flatten(0, 1) for part in position_embeddings)
        rotate(query.flatten(0, 1), key.flatten(0, 1), *angles)
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        step = options.get("tree_step")
        if step is not None and attention_mask is None:
            attended = step.attend(query, key, value, **self.options)
        else:  # the model is asked what it computes by itself
            attended = functional.scaled_dot_product_attention(
                query, key, value, attn_mask=attention_mask, is_causal=attention_mask is None, enable_gqa=True,
                scale=self.options["scale"]).transpose(1, 2)
        return self.output(attended.flatten(2)), None


def fused_attention(module: Any) -> nn.Module | None:
    """What takes the place of `module`; None where it is no such attention, or computes something else."""
    layers: list[Any] = [getattr(module, name, None) for name in PARTS]
    norms = [part for name in NORMS if (part := getattr(module, name, None)) is not None]
    if any(type(layer) is not nn.Linear for layer in layers) or len({layer.bias is None for layer in layers[:3]}) != 1:
        return None
    parameters = sum(len(list(part.parameters())) for part in (*layers, *norms))
    weight = layers[0].weight
    if parameters != len(list(module.parameters())) or weight.dtype not in CLOSE:
        return None
    found = _asked(module, module)
    if found is None:
        return None
    handed, expected = found
    query, key, value = handed.tensors
    outputs = [part.shape[1] * part.shape[-1] for part in (query, key, value)]
    if (outputs != [layer.out_features for layer in layers[:3]] or handed.options.get("soft_cap") is not None
            or handed.options.get("sinks") is not None or query.shape[-1] % 2
            or not query.shape[-1] == key.shape[-1] == value.shape[-1]):
        return None
    new = FusedAttention(module, handed)
    asked = _asked(module, new)
    if asked is None:
        return None
    pairs = zip((*asked[0].tensors, asked[1]), (*handed.tensors, expected), strict=True)
    return new if all(_close(ours, theirs) for ours, theirs in pairs) else None


def _asked(like: Any, module: nn.Module) -> tuple[Handed, Tensor] | None:
    """What `module` hands to attention and gives for three rows of random numbers, small and large, of the kind that
    `like` takes; None where it wants something else."""
    weight, size = like.q_proj.weight, getattr(like, "head_dim", None)
    if not isinstance(size, int):
        return None
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, weight.shape[1], generator=generator) * torch.tensor([0.02, 1.0, 30.0])[:, None]
    angles = torch.rand(1, 3, size // 2, generator=generator).repeat(1, 1, 2) * 6.0
    x, cosines, sines = (part.to(weight.device, weight.dtype) for part in (x, angles.cos(), angles.sin()))
    handed = Handed()
    with torch.inference_mode():
        try:
            result = module(hidden_states=x, position_embeddings=(cosines, sines), attention_mask=None,
                            position_ids=torch.tensor([POSITIONS], device=weight.device), tree_step=handed)
        except Exception:  # a module that wants other arguments is none of ours
            return None
    if not handed.tensors or not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[0], Tensor):
        return None
    return handed, result[0]


def _close(ours: Tensor, expected: Tensor) -> bool:
    """Whether the rows [1, heads, 3, size] or [1, 3, size] are equal but for rounding."""
    if ours.shape != expected.shape or ours.dtype != expected.dtype:
        return False
    first, second = ((part.transpose(1, 2) if part.dim() == 4 else part).flatten(2).float()
                     for part in (ours, expected))
    return bool(((first - second).norm(dim=-1) <= CLOSE[expected.dtype] * second.norm(dim=-1)).all())
