"""Puts compiled kernels in the place of a model's linear layers, norms and gated layers.

A norm or gated layer is replaced where it has the parts of one and gives, on random numbers, what the kernel gives:
what a module computes is asked of the module, not of its name.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...kernels.cpu.decoder_structures import WeightKind
from ...kernels.cpu.elementwise import GATES, LANES, NORMS, GatedLayer, RmsNorm
from ...kernels.cpu.library import Kernels
from ...kernels.cpu.linear import ENTRIES, PackedLinear
from .errors import ModelLoadError
from .module_replacement import replace_modules

CLOSE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
"""Relative distance that is still rounding."""
EPSILONS = ("variance_epsilon", "eps", "epsilon")


def use_kernels(model: nn.Module, kernels: Kernels, weights: WeightKind | None = None) -> dict[str, int]:
    """Replace what the kernels compute, in place; how many of each kind. `weights`: how those of linear layers are
    kept from then on."""
    return {
        "gated": replace_modules(model, lambda module: _gated(module, kernels, weights)),
        "norm": replace_modules(model, lambda module: _norm(module, kernels)),
        "linear": replace_modules(model, lambda module: _linear(module, kernels, weights)),
    }


def check_kept(model: nn.Module, weights: WeightKind | None) -> None:
    """Raise ModelLoadError where another engine keeps the weights of linear layers otherwise."""
    kinds = {module.weights.kind for module in model.modules() if isinstance(module, PackedLinear)}
    if kinds and (WeightKind.int8 in kinds) != (weights is WeightKind.int8):
        raise ModelLoadError("the weights of this model are kept otherwise by another engine; load it once more")


def _linear(module: nn.Module, kernels: Kernels, weights: WeightKind | None) -> nn.Module | None:
    if type(module) is nn.Linear and module.weight.dtype in ENTRIES and module.weight.device.type == "cpu":
        return PackedLinear(module.weight, module.bias, kernels, weights)
    return None


def _norm(module: nn.Module, kernels: Kernels) -> nn.Module | None:
    """An RMS norm with a weight, nothing more."""
    weight = getattr(module, "weight", None)
    epsilon = next((value for name in EPSILONS if isinstance(value := getattr(module, name, None), float)), None)
    if not isinstance(weight, Tensor) or epsilon is None or weight.dim() != 1 or len(list(module.parameters())) != 1:
        return None
    if weight.dtype not in NORMS or weight.device.type != "cpu" or len(weight) % LANES:
        return None
    return _if_equal(module, RmsNorm(weight, epsilon, kernels), len(weight), weight.dtype)


def _gated(module: nn.Module, kernels: Kernels, weights: WeightKind | None) -> nn.Module | None:
    """A gated layer of three linear ones with the usual names."""
    gate, up, down = (getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj"))
    if type(gate) is not nn.Linear or type(up) is not nn.Linear or type(down) is not nn.Linear:
        return None
    weight = gate.weight
    parts = sum(len(list(part.parameters())) for part in (gate, up, down))
    fits = weight.shape == up.weight.shape == down.weight.shape[::-1] and (gate.bias is None) == (up.bias is None)
    if not fits or parts != len(list(module.parameters())) or weight.shape[0] % LANES:
        return None
    if weight.dtype not in GATES or weight.device.type != "cpu":
        return None
    same = _if_equal(module, GatedLayer(gate, up, down, kernels), weight.shape[1], weight.dtype)
    return same if same is None or weights is None else GatedLayer(gate, up, down, kernels, weights)


def _if_equal(module: nn.Module, new: nn.Module, size: int, dtype: torch.dtype) -> nn.Module | None:
    """`new` where it gives what `module` gives for three rows of random numbers, small and large."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(1, 3, size, generator=generator) * torch.tensor([0.02, 1.0, 30.0])[:, None]).to(dtype)
    with torch.inference_mode():
        try:
            expected = module(x)
        except Exception:  # a module that wants other arguments is none of ours
            return None
        if not isinstance(expected, Tensor) or expected.dtype != dtype:
            return None
        distance = (new(x).float() - expected.float()).norm(dim=-1) / expected.float().norm(dim=-1)
    return new if bool((distance <= CLOSE[dtype]).all()) else None
