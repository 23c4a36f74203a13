"""Finds out what modules compute: linear layers, norms, gates and rotations, by the numbers that they gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from ...kernels.cpu.decoder import Norm
from ...kernels.cpu.decoder_structures import Activation, NormKind
from .native_observation import Call, NotNative, Observation

CLOSE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Relative distance that is still rounding."""
EPSILONS = ("variance_epsilon", "eps", "epsilon")
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.silu: F.silu,
    Activation.gelu: F.gelu,
    Activation.gelu_tanh: lambda x: F.gelu(x, approximate="tanh"),
    Activation.relu: F.relu,
    Activation.relu_squared: lambda x: F.relu(x).square(),
    Activation.quick_gelu: lambda x: x * torch.sigmoid(1.702 * x),
}


def distance(found: Tensor, expected: Tensor) -> float:
    """Relative distance of two tensors of one shape."""
    if found.shape != expected.shape:
        return float("inf")
    return float((found.float() - expected.float()).norm() / expected.float().norm().clamp(min=1e-30))


def close(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors are equal up to rounding."""
    return distance(found, expected) <= CLOSE[expected.dtype]


def flat(tensor: Tensor) -> Tensor:
    """[tokens, size] of [1, tokens, size] or [tokens, size]."""
    return tensor.reshape(-1, tensor.shape[-1])


def factor_of(part: Tensor, whole: Tensor) -> float | None:
    """f where `whole` = f · `part`; None where there is none. 1 if it is 1 up to rounding."""
    square = float(part.double().square().sum())
    factor = float((part.double() * whole.double()).sum()) / max(square, 1e-300)
    factor = 1.0 if abs(factor - 1) < CLOSE[whole.dtype] / 2 else factor
    return factor if close(factor * part.float(), whole) else None


@dataclass(frozen=True)
class Weights:
    """The weights of a linear module, [outputs, inputs], and its bias."""

    module: nn.Module

    @property
    def weight(self) -> Tensor:
        """As a view."""
        weight: Tensor = self.module.weight  # type: ignore[assignment]
        return weight.T if isinstance(self.module, Conv1D) else weight

    @property
    def bias(self) -> Tensor | None:
        """[outputs]."""
        return self.module.bias  # type: ignore[return-value]


def is_linear(module: nn.Module) -> bool:
    """Whether it is y = W x + b and nothing more."""
    return type(module) in (nn.Linear, Conv1D)


def linear_calls(calls: Sequence[Call]) -> list[Call]:
    """The calls of linear layers."""
    return [call for call in calls if is_linear(call.module)]


def norm_giving(calls: Sequence[Call], result: Tensor) -> Call | None:
    """The call of a norm that gave `result`, to the last bit."""
    return next((call for call in calls if not is_linear(call.module) and _is_norm(call)
                 and call.result.numel() == result.numel() and torch.equal(flat(call.result), flat(result))), None)


def norm_taking(calls: Sequence[Call], given: Tensor) -> Call | None:
    """The call of a norm that was given `given`, to the last bit."""
    return next((call for call in calls if not is_linear(call.module) and _is_norm(call)
                 and call.given.numel() == given.numel() and torch.equal(flat(call.given), flat(given))), None)


def _is_norm(call: Call) -> bool:
    weight = getattr(call.module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() == 1 and call.given.shape[-1] == len(weight)


def norm_of(module: nn.Module) -> Norm:
    """What a norm computes, tried on small and large numbers."""
    weight: Tensor = module.weight.detach()  # type: ignore[operator]
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([1e-3, 0.1, 1.0, 30.0])[:, None]
    x = (torch.randn(4, len(weight), generator=generator) * scales + 0.1 * scales).to(weight.dtype)
    with torch.inference_mode():
        expected = module(x)
    best = min(_norms(module, weight.float()), key=lambda norm: distance(_normalized(norm, x.float()), expected),
               default=None)
    if best is not None:
        found = _normalized(best, x.float())
        if all(distance(row, wanted) <= CLOSE[weight.dtype] for row, wanted in zip(found, expected, strict=True)):
            return best
    raise NotNative(f"{type(module).__name__} is no norm that is known")


def _norms(module: nn.Module, weight: Tensor) -> Iterator[Norm]:
    epsilons = [value for name in EPSILONS if isinstance(value := getattr(module, name, None), float)] or [1e-5, 1e-6]
    given = getattr(module, "bias", None)
    bias = given.detach().float().contiguous() if isinstance(given, Tensor) else None
    for epsilon in epsilons:
        for kind in (NormKind.rms, NormKind.layer):
            if kind is NormKind.rms and bias is not None:
                continue
            yield Norm(kind, weight.contiguous(), bias, epsilon)
            yield Norm(kind, (1 + weight).contiguous(), bias, epsilon)


def _normalized(norm: Norm, x: Tensor) -> Tensor:
    if norm.kind is NormKind.layer:
        x = x - x.mean(-1, keepdim=True)
    y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.epsilon) * norm.weight
    return y if norm.bias is None else y + norm.bias


class Columns:
    """Which outputs of which linear layers stand where in a tensor, by the numbers of all tokens."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = list(calls)
        self._places: dict[bytes, tuple[int, int]] = {}
        for number, call in enumerate(self.calls):
            for output, column in enumerate(_column_bytes(flat(call.result))):
                self._places.setdefault(column, (number, output))

    def times(self, factor: float | Tensor) -> Columns:
        """The outputs multiplied by a factor."""
        return Columns([Call(call.module, call.given, (), {}, (call.result * factor,)) for call in self.calls])

    def find(self, heads: Tensor) -> list[tuple[int, int]] | None:
        """(call, output) of each number of `heads` [tokens, size]; None where they are no such outputs."""
        found = [self._places.get(column) for column in _column_bytes(heads)]
        return None if None in found else [place for place in found if place is not None]


def _column_bytes(rows: Tensor) -> list[bytes]:
    # Adding zero makes one zero of both.
    columns = (rows.detach().T.contiguous() + 0.0).view(torch.uint8).numpy()
    return [column.tobytes() for column in columns]


@dataclass(frozen=True)
class Rotation:
    """How positions turn the first `rotated` numbers of a head: pairs (d, d + rotated / 2), or with `alternating`
    (2d, 2d + 1); the angles of the pairs are columns `stride`·d of what `call` gave."""

    call: Call
    rotated: int
    alternating: bool
    stride: int

    def turns(self, call: Call) -> Tensor:
        """Cosines and sines [tokens, rotated] of a call."""
        return torch.cat([flat(part)[:, : self.stride * self.rotated // 2 : self.stride] for part in call.results], 1)

    def order(self, size: int) -> Tensor:
        """Where the numbers of a head stand so that all pairs are (d, d + rotated / 2)."""
        if not self.alternating:
            return torch.arange(size)
        half = torch.arange(0, self.rotated, 2)
        return torch.cat([half, half + 1, torch.arange(self.rotated, size)])


def rotation_of(seen: Observation, before: Tensor, after: Tensor) -> Rotation | None:
    """The rotation that takes `before` [tokens, heads, size] to `after`; None where they are equal.

    Raises NotNative where it is none that is known.
    """
    if torch.equal(before, after):
        return None
    size, best, best_distance = before.shape[-1], None, float("inf")
    for call in seen.outside:
        if len(call.results) != 2 or call.results[0].shape[-2] != len(before):
            continue
        width = call.results[0].shape[-1]
        for rotated, stride in ((width, 1), (width, 2), (2 * width, 1)):
            for alternating in (False, True):
                if rotated > size or rotated % 2:
                    continue
                rotation = Rotation(call, rotated, alternating, stride)
                away = distance(_rotated(before.float(), rotation), after)
                if away < best_distance:
                    best, best_distance = rotation, away
    if best is None or best_distance > CLOSE[after.dtype]:
        raise NotNative("its positions turn queries and keys in a way that is not known")
    return best


def _rotated(heads: Tensor, rotation: Rotation) -> Tensor:
    """`heads` [tokens, heads, size] in the order that they came in."""
    half = rotation.rotated // 2
    cosines, sines = rotation.turns(rotation.call).float()[:, None].chunk(2, -1)
    order = rotation.order(heads.shape[-1])
    low, high, rest = heads[..., order].tensor_split([half, 2 * half], -1)
    turned = torch.cat([low * cosines - high * sines, high * cosines + low * sines, rest], -1)
    result = torch.empty_like(turned)
    result[..., order] = turned
    return result
