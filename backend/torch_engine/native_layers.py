"""What one layer of a decoder is made of, by what was seen of it at equal and at different positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...kernels.cpu.decoder_structures import Activation
from .native_observation import Attention, Call, LayerCalls, NotNative, Observation
from .native_parts import (
    ACTIVATIONS,
    CLOSE,
    Columns,
    Rotation,
    close,
    distance,
    flat,
    linear_calls,
    norm_giving,
    norm_taking,
    rotation_of,
)

Places = list[tuple[int, int]]


@dataclass(frozen=True)
class HeadParts:
    """Where query, key and value heads come from: (layer of `linears`, its output) of each number."""

    linears: list[nn.Module]
    query: Places
    key: Places
    value: Places
    query_norm: nn.Module | None
    key_norm: nn.Module | None
    whole_norms: bool
    rotation: Rotation | None
    query_factor: float
    """What queries are multiplied by before attention."""


@dataclass(frozen=True)
class FeedForwardParts:
    """What follows attention. Where it is `gated`, gate and partner are two modules in `up`, or the halves of one; the
    gate is the first of them unless `gate_last`."""

    up: list[nn.Module]
    down: nn.Module
    activation: Activation
    gated: bool
    gate_last: bool


@dataclass(frozen=True)
class LayerParts:
    """A layer; norms that it does not have are None."""

    attention: Attention
    heads: HeadParts
    output: nn.Module
    feed_forward: FeedForwardParts
    before_attention: nn.Module | None
    after_attention: nn.Module | None
    before_feed_forward: nn.Module | None
    after_feed_forward: nn.Module | None
    parallel: bool
    attention_factor: float
    feed_forward_factor: float


def layer_parts(still: LayerCalls, moved: LayerCalls, seen: Observation) -> LayerParts:
    """The parts of a layer, seen with all tokens `still` at position 0, and `moved` apart as in `seen`.

    Raises NotNative with what is not known of it.
    """
    attention = moved.attention
    if attention is None or still.attention is None or moved.result is None:
        raise NotNative("a layer has no attention")
    heads = _heads(still, moved, seen)
    start = flat(moved.given)
    taken = flat(linear_calls(moved.before)[0].given)
    first = _norm_before(moved.before, taken, start, "attention")
    attended = attention.result.reshape(len(start), -1)
    output = next((call for call in linear_calls(moved.after) if torch.equal(flat(call.given), attended)), None)
    if output is None:
        raise NotNative("no linear layer follows attention")
    after_attention = norm_taking(moved.after, output.result)
    change = flat((after_attention or output).result)
    rest = [call for call in moved.after if call is not output and call is not after_attention]
    others = linear_calls(rest)
    if len(others) < 2:
        raise NotNative("its feed-forward part is not made of linear layers")
    parts, taken = _feed_forward(others)
    second = norm_giving([*moved.before, *rest], taken)
    middle = flat(second.given) if second is not None else taken
    down = others[-1]
    after_feed_forward = norm_taking(rest, down.result)
    final = flat((after_feed_forward or down).result)
    parallel = close(middle, start)
    if parallel:
        _expect(close(start.float() + change.float() + final.float(), flat(moved.result)), "what a layer adds up")
        factors = (1.0, 1.0)
    else:
        factors = (_factor(middle, start, change), _factor(flat(moved.result), middle, final))
    return LayerParts(attention, heads, output.module, parts, first, _module(after_attention), _module(second),
                      _module(after_feed_forward), parallel, *factors)


def _module(call: Call | None) -> nn.Module | None:
    return None if call is None else call.module


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise NotNative(f"{what} is not known")


def _norm_before(calls: Sequence[Call], taken: Tensor, start: Tensor, name: str) -> nn.Module | None:
    """The norm between the residual stream and what the linear layers take."""
    if torch.equal(taken, start):
        return None
    norm = norm_giving(calls, taken)
    if norm is None or not torch.equal(flat(norm.given), start):
        raise NotNative(f"what comes before {name} is no norm")
    return norm.module


def _factor(whole: Tensor, start: Tensor, change: Tensor) -> float:
    """f where `whole` = `start` + f · `change`, up to rounding."""
    difference, part = whole.double() - start.double(), change.double()
    factor = float((difference * part).sum() / part.square().sum().clamp(min=1e-300))
    factor = 1.0 if abs(factor - 1) < CLOSE[whole.dtype] else factor
    _expect(close(start.float() + factor * change.float(), whole), "what a layer adds to its input")
    return factor


def _heads(still: LayerCalls, moved: LayerCalls, seen: Observation) -> HeadParts:
    calls = linear_calls(still.before)
    if not calls or still.attention is None or moved.attention is None:
        raise NotNative("its queries, keys and values come from no linear layers")
    if any(not torch.equal(flat(call.given), flat(calls[0].given)) for call in calls):
        raise NotNative("its queries, keys and values come from a chain of linear layers")
    columns = Columns(calls)
    value = columns.find(_by_token(still.attention.value))
    if value is None:
        raise NotNative("its values are no outputs of linear layers")
    scaling = _scaling(still, moved, seen)
    factor = still.attention.query.shape[-1] ** -0.5
    scaled = columns.times(factor).find(_by_token(still.attention.query))
    if scaled is None:
        factor = 1.0
        query, query_norm, whole = _source(columns, still, still.attention.query, scaling)
    else:
        query, query_norm, whole = scaled, None, False
    key, key_norm, key_whole = _source(columns, still, still.attention.key, scaling)
    _expect(whole == key_whole or query_norm is None or key_norm is None, "the norms of queries and keys")
    moved_columns = linear_calls(moved.before)
    rotations = []
    for places, norm, heads, scale in ((query, query_norm, moved.attention.query, factor),
                                       (key, key_norm, moved.attention.key, 1.0)):
        before = _normed(moved, norm, heads) if norm is not None else torch.stack(
            [flat(moved_columns[call].result)[:, output] for call, output in places], 1)
        after = heads.transpose(0, 1)
        rotations.append(rotation_of(seen, before.reshape(after.shape) * scale, after))
    one, other = rotations
    same = (one is None) == (other is None) and (one is None or other is None or (
        one.call is other.call and (one.rotated, one.alternating, one.stride)
        == (other.rotated, other.alternating, other.stride)))
    _expect(same, "the positions of queries and keys")
    return HeadParts([call.module for call in calls], query, key, value, query_norm, key_norm, whole or key_whole, one,
                     factor)


def _by_token(heads: Tensor) -> Tensor:
    """[tokens, heads · size] of [heads, tokens, size]."""
    return heads.transpose(0, 1).reshape(heads.shape[1], -1)


def _scaling(still: LayerCalls, moved: LayerCalls, seen: Observation) -> list[Tensor]:
    """By what angle functions at position 0 may multiply: 1, and what modules outside of layers gave."""
    ones = [torch.ones((), dtype=still.given.dtype)]
    return ones + [call.results[0].flatten()[0] for call in seen.outside if len(call.results) == 2]


def _source(columns: Columns, still: LayerCalls, heads: Tensor,
            scaling: Sequence[Tensor]) -> tuple[Places, nn.Module | None, bool]:
    """Where heads at position 0 come from, the norm between, and whether it goes over all heads together."""
    places = columns.find(_by_token(heads))
    if places is not None:
        return places, None, False
    for scale in scaling:
        places = columns.times(scale).find(_by_token(heads))
        if places is not None:
            return places, None, False
        for call in still.before:
            weight = getattr(call.module, "weight", None)
            if not isinstance(weight, Tensor) or weight.dim() != 1 or call.result.numel() != heads.numel():
                continue
            given, result = (_arranged(part, heads) for part in (call.given, call.result))
            if torch.equal(result * scale, _by_token(heads)):
                places = columns.find(given)
                if places is not None:
                    return places, call.module, len(weight) != heads.shape[-1]
    raise NotNative("its queries and keys are no outputs of linear layers, and of norms")


def _arranged(tensor: Tensor, heads: Tensor) -> Tensor:
    """A norm's tensor as [tokens, heads · size]: it may be [tokens, heads, size] or [heads, tokens, size]."""
    count, tokens = heads.shape[:2]
    tensor = tensor[0] if tensor.dim() == 4 or (tensor.dim() == 3 and tensor.shape[0] == 1) else tensor
    if tensor.dim() == 3 and tensor.shape[0] == count and tensor.shape[1] == tokens:
        return _by_token(tensor)
    return tensor.reshape(tokens, -1)


def _normed(moved: LayerCalls, norm: nn.Module, heads: Tensor) -> Tensor:
    call = next(call for call in moved.before if call.module is norm and call.result.numel() == heads.numel())
    return _arranged(call.result, heads)


def _feed_forward(calls: Sequence[Call]) -> tuple[FeedForwardParts, Tensor]:
    """The linear layers after attention's, and what the first of them take."""
    *ups, down = calls
    taken, inner = flat(ups[0].given), flat(down.given)
    if len(ups) > 2 or any(not torch.equal(flat(call.given), taken) for call in ups):
        raise NotNative("its feed-forward part is not made of two or three linear layers")
    results = [flat(call.result) for call in ups]
    if len(ups) == 1 and results[0].shape[1] == 2 * inner.shape[1]:
        results = list(results[0].chunk(2, dim=1))
    best: tuple[float, Activation, bool] | None = None
    for activation, function in ACTIVATIONS.items():
        for gate_last in (False, True) if len(results) == 2 else (False,):
            gate, *partner = results[::-1] if gate_last else results
            found = function(gate) * partner[0] if partner else function(gate)
            away = distance(found, inner)
            if best is None or away < best[0]:
                best = away, activation, gate_last
    if best is None or best[0] > CLOSE[inner.dtype]:
        raise NotNative("its feed-forward part is none that is known")
    return FeedForwardParts([call.module for call in ups], down.module, best[1], len(results) == 2, best[2]), taken
