"""Makes the layers of a compiled decoder from their parts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ...kernels.cpu.decoder import DecoderLayer, Norm, Turns, gated_order, head_order
from ...kernels.cpu.decoder_structures import NormKind
from ...kernels.cpu.linear import PANEL
from .native_layers import FeedForwardParts, HeadParts, LayerParts, Places
from .native_observation import Call, NotNative, Observation
from .native_parts import Rotation, Weights, norm_of
from .native_weights import Mover


class Builder:
    """Layers share their angles where their modules gave equal ones."""

    def __init__(self, mover: Mover, seen: Observation, most_positions: int) -> None:
        self._mover = mover
        self._most = most_positions
        self._turns: dict[tuple[int, int, bool, int], Turns] = {}

    def norm(self, module: nn.Module | None) -> Norm | None:
        """What a norm computes."""
        return None if module is None else norm_of(module)

    def layer(self, parts: LayerParts) -> DecoderLayer:
        """A layer, whose weights are taken out of its modules."""
        attention, heads = parts.attention, parts.heads
        (head_count, _, size), (kv_heads, _, value_size) = attention.query.shape, attention.value.shape
        order = heads.rotation.order(size) if heads.rotation is not None else torch.arange(size)
        norms = {name: norm_of(module) for name in (
            "before_attention", "after_attention", "before_feed_forward", "after_feed_forward")
            if (module := getattr(parts, name)) is not None}
        for name in ("query_norm", "key_norm"):
            if (module := getattr(heads, name)) is not None:
                norms[name] = _head_norm(norm_of(module), size, order, heads.whole_norms)
        rows = _row_numbers(heads, order, size, value_size)
        scale = size**-0.5 if attention.scale is None else float(attention.scale)
        feed_forward = parts.feed_forward
        inner = Weights(feed_forward.down).weight.shape[1]
        linears = {
            "heads": self._mover.take(heads.linears, rows),
            "output": self._mover.take([parts.output]),
            "up": self._mover.take(feed_forward.up, _inner_order(feed_forward, inner)),
            "down": self._mover.take([feed_forward.down], inputs=inner + -inner % PANEL),
        }
        return DecoderLayer(
            norms=norms, linears=linears, turns=self._turns_of(heads.rotation),
            sinks=None if attention.sinks is None else attention.sinks.detach().float().contiguous(),
            window=attention.window, scale=scale * heads.query_factor,
            soft_cap=float(attention.soft_cap or 0), attention_factor=parts.attention_factor,
            feed_forward_factor=parts.feed_forward_factor, head_count=head_count, kv_heads=kv_heads, key_size=size,
            value_size=value_size, activation=feed_forward.activation, gated=feed_forward.gated,
            parallel=parts.parallel, whole_norms=heads.whole_norms)

    def _turns_of(self, rotation: Rotation | None) -> Turns | None:
        if rotation is None:
            return None
        key = id(rotation.call), rotation.rotated, rotation.alternating, rotation.stride
        if key not in self._turns:
            self._turns[key] = Turns(rotation.rotated, _maker(rotation), self._most)
        return self._turns[key]


def _row_numbers(heads: HeadParts, order: Tensor, size: int, value_size: int) -> Tensor:
    """The rows of the joined linear layers in the order of the kernel."""
    starts = [0]
    for module in heads.linears:
        starts.append(starts[-1] + len(Weights(module).weight))

    def numbers(places: Places) -> Tensor:
        return torch.tensor([starts[call] + output for call, output in places])

    turned = [head_order(numbers(places).reshape(-1, size)[:, order], size) for places in (heads.query, heads.key)]
    rows = torch.cat([*turned, head_order(numbers(heads.value), value_size)])
    if not torch.equal(rows[rows >= 0].sort().values, torch.arange(starts[-1])):
        raise NotNative("its linear layers before attention give more than queries, keys and values")
    return rows


def _inner_order(parts: FeedForwardParts, inner: int) -> Tensor:
    """The rows of the linear layers before `down`, padded to whole panels."""
    first = torch.arange(inner)
    if not parts.gated:
        return head_order(first, inner)
    gate, partner = (first + inner, first) if parts.gate_last else (first, first + inner)
    return gated_order(gate, partner)


def _head_norm(norm: Norm, size: int, order: Tensor, whole: bool) -> Norm:
    """A norm of heads whose numbers stand in another order; over all heads with zeros between them."""
    if norm.kind is not NormKind.rms and whole:
        raise NotNative("its queries and keys have norms that are not known")

    def arranged(weight: Tensor) -> Tensor:
        turned = weight.reshape(-1, size)[:, order]
        return (pad(turned, (0, -size % PANEL)) if whole else turned).flatten().contiguous()

    return Norm(norm.kind, arranged(norm.weight), None if norm.bias is None else arranged(norm.bias), norm.epsilon)


def _maker(rotation: Rotation) -> Callable[[int], Tensor]:
    """Makes the angles of the first positions by the module that gave them, in float32."""
    call = rotation.call

    def make(count: int) -> Tensor:
        positions = torch.arange(count)[None]

        def moved(value: object) -> object:
            return positions if isinstance(value, Tensor) and not value.is_floating_point() else value

        given = torch.zeros(1, 1, 1) if call.given.is_floating_point() else positions
        options = {name: moved(value) for name, value in call.options.items() if value is not call.given}
        with torch.inference_mode():
            results = call.module(given, *map(moved, call.others), **options)
        return rotation.turns(Call(call.module, given, (), {}, tuple(results)))

    return make
