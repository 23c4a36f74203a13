"""What separates an engine from its model: one step over segments of the context tree.

The scheduler decides which tokens are computed in a step and where their keys and values go; a
`ModelRunner` computes them. The same scheduler drives the reference engine and the torch engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class KVRun:
    """Keys and values that are resident already: consecutive tokens of one node of the context tree.

    `slots` int64 [n]: the KV slot of each token; `first_position`: position of the first of them in
    its context. `node`: identifies the node, equal runs in one step are the same object.
    """

    node: int
    slots: NDArray[np.int64]
    first_position: int


@dataclass(frozen=True)
class Segment:
    """Consecutive new tokens of one node: a prefill chunk, or one decoded token.

    `token_ids`, `slots` int64 [n]: the tokens and where their keys and values are to be written.
    Token i has position `first_position + i` and attends to every run in `ancestors` (indices into
    `StepBatch.runs`, root first) and to tokens 0..i of this segment.
    `wants_logits`: whether logits after the last token are needed.
    """

    token_ids: NDArray[np.int64]
    slots: NDArray[np.int64]
    first_position: int
    ancestors: tuple[int, ...]
    wants_logits: bool


@dataclass(frozen=True)
class StepBatch:
    """All work of one step. A run that several segments share appears once, so it is read once."""

    runs: tuple[KVRun, ...]
    segments: tuple[Segment, ...]


class ModelRunner(Protocol):
    """A model with a KV pool of `slots` token slots, grouped in pages of `page_size` slots."""

    vocabulary_size: int
    context_length: int
    kernels: str
    """Names of the kernels in use, for statistics."""
    kv_bytes_per_token: int

    def allocate(self, slots: int) -> None:
        """Reserve the KV pool. Called once, before the first step."""

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        """Compute the step; float32 logits [segments that want logits, vocabulary_size], in segment order."""
