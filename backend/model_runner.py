"""What separates an engine from its model: one step over segments of the context tree.

The scheduler decides which tokens are computed in a step and where their keys and values go; a
`ModelRunner` computes them. The same scheduler drives the reference engine and the torch engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_ZERO, _NONE = np.zeros(1, np.int64), np.empty(0, np.int64)


@dataclass(frozen=True)
class KVRun:
    """Keys and values that are resident already: consecutive tokens of one node of the context tree.

    `slots` int64 [n]: the KV slot of each token; `first_position`: position of the first of them in
    its context. `node`: identifies the node; negative for the tokens of a chain of steps.
    Equal runs in one step are the same object.
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


class StepBatch:
    """All work of one step: its tokens in columns, segment after segment, and what each segment reads.

    `token_ids`, `slots`, `positions` int64 [tokens]: what to compute, where its KV is to be written, and its position
    in its context. `starts` int64 [segments + 1]: the first token of each segment, and the end. `wanted` int64 [n]:
    the tokens after which logits are needed, in order.

    In a step that goes on from the one before (`following`) every segment is again one token, the next of its context.
    `chain` is the same object in all such steps, `age` numbers them: a plan of one may be grown for the next.
    """

    def __init__(self, runs: Sequence[KVRun], segments: Sequence[Segment]) -> None:
        lengths = np.fromiter((len(segment.token_ids) for segment in segments), np.int64, len(segments))
        firsts = np.fromiter((segment.first_position for segment in segments), np.int64, len(segments))
        wants = np.fromiter((segment.wants_logits for segment in segments), np.bool_, len(segments))
        self.starts = np.concatenate([_ZERO, np.cumsum(lengths)])
        self.token_ids = np.concatenate([_NONE, *(segment.token_ids for segment in segments)])
        self.slots = np.concatenate([_NONE, *(segment.slots for segment in segments)])
        self.positions = np.repeat(firsts - self.starts[:-1], lengths) + np.arange(len(self.token_ids))
        self.wanted = self.starts[1:][wants] - 1
        self._objects: tuple[Sequence[KVRun], Sequence[Segment]] | None = tuple(runs), tuple(segments)
        self.chain = StepChain(*self._objects)
        self.age = 0

    @property
    def runs(self) -> Sequence[KVRun]:
        """Resident KV. A run that several segments share appears once, so it is read once."""
        return self._derived()[0]

    @property
    def segments(self) -> Sequence[Segment]:
        """The new tokens as objects."""
        return self._derived()[1]

    def _derived(self) -> tuple[Sequence[KVRun], Sequence[Segment]]:
        if self._objects is None:
            self._objects = self.chain.derive(self)
        return self._objects

    @property
    def can_be_followed(self) -> bool:
        """Whether every segment is one token whose logits are wanted."""
        return len(self.wanted) == len(self.token_ids) == len(self.starts) - 1

    def following(self, token_ids: NDArray[np.int64], slots: NDArray[np.int64]) -> StepBatch:
        """The next step of the same segments, where `can_be_followed`: one token more of each, int64 [segments].

        The tokens of this step are resident then, each read by its own segment only.
        """
        batch = StepBatch.__new__(StepBatch)
        batch.starts, batch.wanted = self.starts, self.wanted
        batch.token_ids, batch.slots, batch.positions = token_ids, slots, self.positions + 1
        batch._objects = None
        batch.chain, batch.age = self.chain, self.age + 1
        batch.chain.note(batch.age, slots)
        return batch


class StepChain:
    """Steps that follow one another: what the first one read, and the slots of each one's tokens."""

    def __init__(self, runs: Sequence[KVRun], segments: Sequence[Segment]) -> None:
        self._runs = runs
        self._segments = segments
        self._slots = np.empty((0, len(segments)), np.int64)

    def note(self, age: int, slots: NDArray[np.int64]) -> None:
        """The step number `age` writes to `slots` int64 [segments]."""
        if age >= len(self._slots):
            grown = np.empty((2 * age + 8, len(slots)), np.int64)
            grown[: len(self._slots)] = self._slots
            if age == 1:
                grown[0] = [segment.slots[0] for segment in self._segments]
            self._slots = grown
        self._slots[age] = slots

    def slots_between(self, first: int, last: int) -> NDArray[np.int64]:
        """Slots of the tokens of the steps `first` to `last - 1`, int64 [last - first, segments]; `last` above 1."""
        return self._slots[first:last]

    def derive(self, batch: StepBatch) -> tuple[Sequence[KVRun], Sequence[Segment]]:
        """Runs and segments of a step after the first: each segment reads one run more, the tokens since then."""
        columns = np.ascontiguousarray(self._slots[: batch.age].T)
        count = len(self._runs)
        runs, segments = list(self._runs), []
        for number, (first, token, slot) in enumerate(
                zip(self._segments, batch.token_ids[:, None], batch.slots[:, None], strict=True)):
            runs.append(KVRun(-1 - number, columns[number], first.first_position))
            segments.append(Segment(token, slot, first.first_position + batch.age,
                                    (*first.ancestors, count + number), wants_logits=True))
        return tuple(runs), tuple(segments)


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
