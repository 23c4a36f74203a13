"""Watches a `transformers` decoder compute a few tokens: what every leaf module was given and what it gave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


class NotNative(Exception):
    """The compiled decoder does not compute this model; the message says why."""


@dataclass(frozen=True)
class Call:
    """A call of a module: its first argument, the others, and its first result (further ones in `results`)."""

    module: nn.Module
    given: Tensor
    others: tuple[object, ...]
    options: dict[str, object]
    results: tuple[Tensor, ...]

    @property
    def result(self) -> Tensor:
        """What it gave."""
        return self.results[0]


@dataclass(frozen=True)
class Attention:
    """A call of attention: `query` [heads, tokens, size], `key`, `value`, and what it was told."""

    query: Tensor
    key: Tensor
    value: Tensor
    result: Tensor
    scale: float | None
    window: int | None
    soft_cap: float | None
    sinks: Tensor | None


@dataclass
class LayerCalls:
    """What happened in one layer: `before` and `after` its attention."""

    module: nn.Module
    given: Tensor
    before: list[Call] = field(default_factory=list)
    after: list[Call] = field(default_factory=list)
    attention: Attention | None = None
    result: Tensor | None = None


@dataclass
class Observation:
    """One forward pass over `token_ids` [tokens] at `positions` [tokens]."""

    token_ids: Tensor
    positions: Tensor
    layers: list[LayerCalls] = field(default_factory=list)
    outside: list[Call] = field(default_factory=list)
    """Calls of modules that are in no layer."""
    logits: Tensor | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, scale: float | None, window: int | None,
               soft_cap: float | None, sinks: Tensor | None) -> Tensor:
        """Attention of every token to itself only, which is its value: enough to see what is done with it."""
        if not self.layers or self.layers[-1].attention is not None:
            raise NotNative("attention is not called once in each layer")
        result = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1).transpose(1, 2).contiguous()
        self.layers[-1].attention = Attention(query[0], key[0], value[0], result[0], scale, window, soft_cap, sinks)
        return result


def observe(model: PreTrainedModel, token_ids: Sequence[int], positions: Sequence[int]) -> Observation:
    """A pass of `model`, which must have our attention, over one packed row."""
    seen = Observation(torch.tensor(token_ids), torch.tensor(positions))
    with torch.inference_mode(), _watching(model, seen):
        output: Any = model(input_ids=seen.token_ids[None], position_ids=seen.positions[None], use_cache=False,
                            tree_step=seen)
    seen.logits = output.logits[0]
    return seen


def decoder_layers(model: nn.Module, count: int) -> list[nn.Module]:
    """The modules of the layers, in order."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    if len(lists) != 1:
        raise NotNative(f"it has {len(lists)} lists of {count} layers")
    return list(lists[0])


@contextmanager
def _watching(model: PreTrainedModel, seen: Observation) -> Iterator[None]:
    config: Any = model.config.get_text_config()
    layers = decoder_layers(model, config.num_hidden_layers)
    inside = {id(module) for layer in layers for module in layer.modules()}

    def begin(module: nn.Module, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        seen.layers.append(LayerCalls(module, given[0] if given else options["hidden_states"]))

    def end(module: nn.Module, given: object, result: Any) -> None:
        seen.layers[-1].result = result[0] if isinstance(result, tuple) else result

    def note(module: nn.Module, given: tuple[Any, ...], options: dict[str, Any], result: Any) -> None:
        values = [*given, *options.values()]
        results = tuple(result) if isinstance(result, tuple) else (result,)
        if not values or not all(isinstance(value, Tensor) for value in (values[0], *results)):
            return
        call = Call(module, values[0], tuple(given[1:]), dict(options), results)
        if id(module) not in inside:
            seen.outside.append(call)
        elif seen.layers[-1].attention is None:
            seen.layers[-1].before.append(call)
        else:
            seen.layers[-1].after.append(call)

    hooks: list[Any] = []
    for layer in layers:
        hooks.append(layer.register_forward_pre_hook(begin, with_kwargs=True))
        hooks.append(layer.register_forward_hook(end))
    for module in model.modules():
        if not list(module.children()):
            hooks.append(module.register_forward_hook(note, with_kwargs=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
