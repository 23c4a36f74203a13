"""Puts Triton kernels in the place of a model's own modules on a GPU: there, each small launch counts.

As on a CPU (`fast_leaves.py`), what a module computes is asked of the module: it is replaced where it has the parts of
a norm or of a gated layer and gives, on random numbers, what the kernel gives.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...kernels.triton.elementwise import WIDEST, GatedLayer, RmsNorm
from ...kernels.triton.linear import InvariantLinear
from .fused_attention import fused_attention
from .module_replacement import replace_modules

CLOSE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
"""Relative distance that is still rounding."""
EPSILONS = ("variance_epsilon", "eps", "epsilon")


def use_gpu_kernels(model: nn.Module, *, invariant: bool = False) -> dict[str, int]:
    """Replace what the kernels compute, in place; how many of each kind. With `invariant`, linear layers too."""
    counts = {"norm": replace_modules(model, _norm), "gated": replace_modules(model, _gated),
              "fused attention": replace_modules(model, fused_attention)}
    if invariant:
        counts["invariant linear"] = replace_modules(model, _linear)
    return counts


def _linear(module: nn.Module) -> nn.Module | None:
    if type(module) is not nn.Linear or module.weight.dtype not in CLOSE:
        return None
    return _if_equal(module, InvariantLinear(module), module.in_features, module.weight)


def _norm(module: nn.Module) -> nn.Module | None:
    """An RMS norm with a weight, nothing more."""
    weight = getattr(module, "weight", None)
    epsilon = next((value for name in EPSILONS if isinstance(value := getattr(module, name, None), float)), None)
    if not isinstance(weight, Tensor) or epsilon is None or weight.dim() != 1 or len(list(module.parameters())) != 1:
        return None
    if isinstance(module, RmsNorm) or weight.dtype not in CLOSE or len(weight) > WIDEST:
        return None
    return _if_equal(module, RmsNorm(weight, epsilon), len(weight), weight)


def _gated(module: nn.Module) -> nn.Module | None:
    """A gated layer of three linear ones with the usual names."""
    gate, up, down = (getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj"))
    if type(gate) is not nn.Linear or type(up) is not nn.Linear or type(down) is not nn.Linear:
        return None
    weight = gate.weight
    parts = sum(len(list(part.parameters())) for part in (gate, up, down))
    fits = weight.shape == up.weight.shape == down.weight.shape[::-1] and (gate.bias is None) == (up.bias is None)
    if not fits or parts != len(list(module.parameters())) or weight.dtype not in CLOSE:
        return None
    return _if_equal(module, GatedLayer(gate, up, down), weight.shape[1], weight)


def _if_equal(module: nn.Module, new: nn.Module, size: int, weight: Tensor) -> nn.Module | None:
    """`new` where it gives what `module` gives for three rows of random numbers, small and large."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, size, generator=generator) * torch.tensor([0.02, 1.0, 30.0])[:, None]
    x = x.to(weight.device, weight.dtype)
    with torch.inference_mode():
        try:
            expected = module(x)
        except Exception:  # a module that wants other arguments is none of ours
            return None
        if not isinstance(expected, Tensor) or expected.dtype != weight.dtype:
            return None
        distance = (new(x).float() - expected.float()).norm(dim=-1) / expected.float().norm(dim=-1)
    return new if bool((distance <= CLOSE[weight.dtype]).all()) else None
