"""Penalties and biases: what options change in a row of logits, because of the tokens before it or in any case.

In this order: `logit_bias` is added; the logits of tokens of prompt or output are divided by `repetition_penalty`
where they are positive and multiplied by it where not; for each token of the output, `frequency_penalty` times its
count and `presence_penalty` are subtracted. Masks, temperature and filters come after. Log-probabilities are the
model's own. Sources: CTRL (Keskar et al. 2019) for repetition, OpenAI's API for the others; the order is vLLM's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .engine import EngineError, SamplingOptions

Logits = NDArray[np.float32]


class LogitChanges:
    """The changes for one output, as it grows. `prompt` int64: the tokens before it."""

    def __init__(self, options: SamplingOptions, prompt: NDArray[np.int64], vocabulary_size: int) -> None:
        self._options = options
        self._bias_ids = np.array([token for token, _ in options.logit_bias], np.int64)
        self._biases = np.array([bias for _, bias in options.logit_bias], np.float32)
        self._counts = np.zeros(vocabulary_size, np.int32)
        """How often the output has each token."""
        self._seen = np.zeros(vocabulary_size, np.bool_)
        """Tokens of prompt and output."""
        self._seen[prompt[prompt < vocabulary_size]] = True

    def note(self, token: int) -> None:
        """`token` has been appended to the output."""
        self._counts[token] += 1
        self._seen[token] = True

    def apply(self, logits: Logits) -> Logits:
        """Changed logits, float32 [vocabulary]; the given ones stay."""
        options = self._options
        changed = logits.copy()
        np.add.at(changed, self._bias_ids, self._biases)
        if options.repetition_penalty != 1.0:
            penalty = np.float32(options.repetition_penalty)
            ids = np.flatnonzero(self._seen)
            seen = changed[ids]
            changed[ids] = np.where(seen > 0, seen / penalty, seen * penalty)
        if options.frequency_penalty or options.presence_penalty:
            ids = np.flatnonzero(self._counts)
            changed[ids] -= (np.float32(options.frequency_penalty) * self._counts[ids]
                             + np.float32(options.presence_penalty))
        return changed


def logit_changes(options: SamplingOptions, prompt: NDArray[np.int64] | None,
                  vocabulary_size: int) -> LogitChanges | None:
    """The changes that `options` ask for; None where they ask for none. Raises EngineError for options without sense.

    `prompt`: None where it is not known, which `repetition_penalty` does not allow.
    """
    o = options
    if not o.logit_bias and o.repetition_penalty == 1.0 and not o.frequency_penalty and not o.presence_penalty:
        return None
    _check(options, vocabulary_size)
    if prompt is None:
        assert o.repetition_penalty == 1.0, "a repetition penalty needs the prompt"
        prompt = np.empty(0, np.int64)
    return LogitChanges(options, prompt, vocabulary_size)


def _check(options: SamplingOptions, vocabulary_size: int) -> None:
    o = options
    if not 0 < o.repetition_penalty < math.inf:
        raise EngineError(f"repetition_penalty is {o.repetition_penalty}; it must be above 0, and 1 is none")
    for name in ("frequency_penalty", "presence_penalty"):
        if not math.isfinite(getattr(o, name)):
            raise EngineError(f"{name} is {getattr(o, name)}; it must be a finite number, and 0 is none")
    for token, bias in o.logit_bias:
        if not 0 <= token < vocabulary_size:
            raise EngineError(f"logit_bias names token {token}, but there are only {vocabulary_size}")
        if math.isnan(bias) or bias == math.inf:
            raise EngineError(f"the logit_bias of token {token} is {bias}; it must be a number or minus infinity")
