"""An engine that remembers the tokens of every call; otherwise it is the engine inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from semlang.backend.engine import ROOT, Callbacks, Generation, Priority, SamplingOptions

Tokens = tuple[int, ...]


class Recorder:
    """`calls`: prompt (without BOS) and output of every generate, in the order in which they ended."""

    def __init__(self) -> None:
        self._engine: Any = None
        self._contexts: dict[int, Tokens] = {ROOT: ()}
        self.calls: list[tuple[Tokens, Tokens]] = []

    def use(self, engine: Any) -> None:
        """Stand for `engine`."""
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def fill(self, token_ids: Sequence[int], context_id: int, parent_context_id: int, **options: Any) -> None:
        """See `engine.Engine`."""
        self._contexts[context_id] = self._contexts[parent_context_id] + tuple(token_ids)
        self._engine.fill(token_ids, context_id, parent_context_id, **options)

    def generate(self, sampling: SamplingOptions, context_id: int, parent_context_id: int, callbacks: Callbacks, *,
                 priority: Priority = Priority(), label: str = "", **options: Any) -> None:
        """See `engine.Engine`."""
        prompt = self._contexts[parent_context_id]

        def finish(generation: Generation) -> None:
            self._contexts[context_id] = prompt + generation.kept_ids + generation.tail_ids
            self.calls.append((prompt, generation.sampled_ids))
            callbacks.on_finish(generation)

        self._engine.generate(sampling, context_id, parent_context_id,
                              Callbacks(finish, callbacks.on_error, callbacks.on_text), priority=priority, label=label,
                              **options)
