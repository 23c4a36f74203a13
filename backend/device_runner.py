"""A model on a device that works beside the host: steps are handed over, tokens chosen there, results fetched later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .model_runner import ModelRunner, StepBatch
from .sampling import TokenChoice


@dataclass(frozen=True)
class TokenChoices:
    """How tokens are chosen from a step's rows of logits, in columns with one entry for each of n tokens.

    `rows` int64: the row of logits. `temperatures`, `top_p`, `min_p`, `uniforms` float64 and `top_k` int64 are what
    `sampling.choose_token` takes. `masked` int64 [m]: the tokens that have a mask; `masks` uint8 [m, bytes]: the ids
    that they may be, as bits, the lowest first. Only ids below `vocabulary_size` are chosen.
    """

    rows: NDArray[np.int64]
    temperatures: NDArray[np.float64]
    top_k: NDArray[np.int64]
    top_p: NDArray[np.float64]
    min_p: NDArray[np.float64]
    uniforms: NDArray[np.float64]
    masked: NDArray[np.int64]
    masks: NDArray[np.uint8]
    vocabulary_size: int

    @staticmethod
    def of(choices: Sequence[TokenChoice], rows: Sequence[int], vocabulary_size: int) -> TokenChoices:
        """One token for each of `choices`, from the logits `rows`."""
        if all(choice.is_largest for choice in choices):
            zeros, ones = np.zeros(len(choices)), np.ones(len(choices))
            none = np.zeros(len(choices), np.int64)
            return TokenChoices(np.array(rows, np.int64), zeros, none, ones, zeros, zeros, none[:0],
                                np.empty((0, -(-vocabulary_size // 8)), np.uint8), vocabulary_size)
        options = [choice.options for choice in choices]
        masks = [(number, choice.mask) for number, choice in enumerate(choices) if choice.mask is not None]
        bits = [np.packbits(mask[:vocabulary_size], bitorder="little") for _, mask in masks]
        return TokenChoices(
            np.array(rows, np.int64), np.array([one.temperature for one in options], np.float64),
            np.array([one.top_k for one in options], np.int64), np.array([one.top_p for one in options], np.float64),
            np.array([one.min_p for one in options], np.float64),
            np.array([choice.uniform for choice in choices], np.float64),
            np.array([number for number, _ in masks], np.int64),
            np.stack(bits) if bits else np.empty((0, -(-vocabulary_size // 8)), np.uint8), vocabulary_size)

    def __len__(self) -> int:
        return len(self.rows)


class PendingStep(Protocol):
    """A step that was handed over. Either method waits for it, and raises what the device reports."""

    def logits(self) -> NDArray[np.float32]:
        """As `ModelRunner.run`; only of a step without choices."""

    def tokens(self) -> NDArray[np.int64]:
        """The tokens chosen, int64 [n]; only of a step with choices."""


@dataclass(frozen=True)
class Following:
    """Where a step finds its tokens while the host does not know them: token i of the step is the token
    `places[i]` (int64) that `step`, the one handed over before it, chooses."""

    step: PendingStep
    places: NDArray[np.int64]


class DeviceRunner(ModelRunner, Protocol):
    """A `ModelRunner` that takes a step before the one before it has ended. It computes them in the order given."""

    def submit(self, batch: StepBatch, choices: TokenChoices | None = None,
               following: Following | None = None) -> PendingStep:
        """Begin a step; what it needs of `batch` and `choices` is copied before this returns.

        With `following`, `batch.token_ids` is not read.
        """


def is_device_runner(runner: ModelRunner) -> TypeGuard[DeviceRunner]:
    """Whether steps can be handed over to `runner`."""
    return hasattr(runner, "submit")
