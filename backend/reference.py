"""The reference engine: a deterministic pseudo language model that runs at once, the oracle of property tests.

The "KV" of a token is a 64-bit hash of the token, its position and everything before it; a row of logits is drawn
from a hash over the KV of all slots of its context. So a wrong slot, a freed page, a wrong order or a wrong
position changes the answer, as it would with a real model.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..ir.target import Tokenizer
from .embedded import CONTEXT_LENGTH, embedded_tokenizer
from .model_runner import KVRun, Segment, StepBatch
from .step_engine import StepEngine
from .tokenizer import load_tokenizer

_M64 = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
LOGIT_RANGE = 8.0
ENDING_CHANCE = 0.14
ENDING_BONUS = 16.0
FORBIDDEN = -1e4


def _mix(x: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _M64
    return x ^ (x >> 31)


def _mix_array(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class ReferenceRunner:
    """A `ModelRunner` without a model.

    `bias` float32 [vocabulary] is added to all logits; `ending` float32 [vocabulary] only to the share
    `ENDING_CHANCE` of rows in which the text wants to end, and never after a token outside `may_end` bool [vocabulary].
    """

    kernels = "reference"
    kv_bytes_per_token = 8

    def __init__(
        self, bias: NDArray[np.float32], ending: NDArray[np.float32], may_end: NDArray[np.bool_], *, context_length: int
    ) -> None:
        self.vocabulary_size = len(bias)
        self.context_length = context_length
        self._bias = bias
        self._ending = ending
        self._may_end = may_end
        self._counter = np.arange(1, len(bias) + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        self.kv = np.zeros(0, dtype=np.uint64)

    def allocate(self, slots: int) -> None:
        """Reserve the KV pool, uint64 [slots]."""
        self.kv = np.zeros(slots, dtype=np.uint64)

    def run(self, batch: StepBatch) -> NDArray[np.float32]:
        """Compute the step; float32 logits [segments that want logits, vocabulary_size], in segment order."""
        sums = [self._run_sum(run) for run in batch.runs]
        states = [self._write(segment, sums) for segment in batch.segments]
        wanted = [(state, s.token_ids[-1]) for state, s in zip(states, batch.segments, strict=True) if s.wants_logits]
        logits = np.empty((len(wanted), self.vocabulary_size), dtype=np.float32)
        for row, (state, last_token) in zip(logits, wanted, strict=True):
            self._fill_logits(row, state, bool(self._may_end[last_token]))
        return logits

    def _run_sum(self, run: KVRun) -> int:
        positions = np.arange(run.first_position, run.first_position + len(run.slots), dtype=np.uint64)
        return int(_mix_array(self.kv[run.slots] + positions * np.uint64(_GOLDEN)).sum())

    def _write(self, segment: Segment, sums: list[int]) -> int:
        """Write the segment's KV; the hash of the context up to its last token."""
        state = sum(sums[i] for i in segment.ancestors) & _M64
        position = segment.first_position
        values = []
        for token in segment.token_ids.tolist():
            value = _mix(state ^ _mix(token * _GOLDEN + position + 1 & _M64))
            values.append(value)
            state = (state + _mix((value + position * _GOLDEN) & _M64)) & _M64
            position += 1
        self.kv[segment.slots] = values
        return state

    def _fill_logits(self, row: NDArray[np.float32], state: int, may_end: bool) -> None:
        bits = _mix_array(self._counter ^ np.uint64(_mix(state)))
        np.multiply(bits >> np.uint64(40), np.float32(LOGIT_RANGE / 2**24), out=row, casting="unsafe")
        row += self._bias
        if may_end and _mix(state ^ _GOLDEN) < ENDING_CHANCE * 2**64:
            row += self._ending


def reference_runner(tokenizer: Tokenizer, context_length: int) -> ReferenceRunner:
    """A runner whose texts are mostly whole characters and end after about ten tokens, in JSON strings too.

    They end after letters and digits only, so what follows a prompt that ends in a colon or a newline is not empty.
    """
    return ReferenceRunner(*_biases(cast(Hashable, tokenizer)), context_length=context_length)


@lru_cache(maxsize=8)
def _biases(tokenizer: Tokenizer) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """`bias`, `ending` and `may_end` of a runner; many engines share one tokenizer."""
    bias = np.zeros(tokenizer.vocabulary_size, dtype=np.float32)
    ending = np.zeros(tokenizer.vocabulary_size, dtype=np.float32)
    may_end = np.zeros(tokenizer.vocabulary_size, dtype=bool)
    for token in range(tokenizer.vocabulary_size):
        data = tokenizer.token_bytes(token)
        may_end[token] = data[-1:].isalnum()
        if not data:
            bias[token] = FORBIDDEN
        elif token % 16 and not _is_text(data):
            bias[token] = -LOGIT_RANGE  # pieces of characters are rare, but they do occur
        if data[:1] in (b'"', b"]", b"}"):
            ending[token] = ENDING_BONUS
    for token in tokenizer.eos_ids:
        if token < len(bias):
            bias[token], ending[token] = 0.0, 2 * ENDING_BONUS
    return bias, ending, may_end


def _is_text(data: bytes) -> bool:
    try:
        return data.decode().isprintable() or data.isspace()
    except UnicodeDecodeError:
        return False


def reference_engine(
    model_dir: str | Path | None = None,
    *,
    name: str = "reference",
    kv_slots: int = 1 << 20,
    page_size: int = 16,
    max_step_tokens: int = 2048,
    max_batch: int = 256,
    prefix_cache: bool = True,
    speculative_fills: bool = False,
    trace: bool = False,
    jump_forward: bool = True,
) -> StepEngine:
    """The reference engine over the tokenizer of `model_dir` (the embedded one by default).

    Speculative fills are off unless asked for, so that the counted tokens do not depend on time.
    Raises `TokenizerError` when the directory holds no usable tokenizer.
    """
    if model_dir is None:
        tokenizer, context_length = embedded_tokenizer(), CONTEXT_LENGTH
    else:
        tokenizer, context_length = load_tokenizer(model_dir), read_context_length(Path(model_dir))
    return StepEngine(
        reference_runner(tokenizer, context_length),
        tokenizer,
        name=name,
        kv_slots=kv_slots,
        page_size=page_size,
        max_step_tokens=max_step_tokens,
        max_batch=max_batch,
        prefix_cache=prefix_cache,
        speculative_fills=speculative_fills,
        trace=trace,
        jump_forward=jump_forward,
    )


def read_context_length(directory: Path) -> int:
    """Tokens that one context of the model in `directory` holds; the embedded model's where it does not say."""
    path = directory / "config.json"
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        for key in ("max_position_embeddings", "n_positions"):
            if isinstance(config.get(key), int):
                return int(config[key])
    return CONTEXT_LENGTH
