"""One token from one row of logits. A row's result depends on that row only, never on its batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .engine import EngineError, SamplingOptions
from .logit_changes import LogitChanges

Logits = NDArray[np.float32]
Mask = NDArray[np.bool_]
Ids = NDArray[np.int64]
Weights = NDArray[np.float64]

EPSILON = float(np.finfo(np.float64).eps)
BLOCK = 256
"""Weights that are summed together before any of them is looked at."""
STRIDE = 16
"""One of so many logits is looked at to find out where the largest are."""
SPARSE = 4096
"""Allowed ids up to which they are looked up rather than the others hidden."""
SHORT = 2048
"""Logits up to which nothing is gained by looking at fewer."""


UNDEFINED = -1
"""In place of a token where the model gave no numbers to choose by."""


class UndefinedLogits(EngineError):
    """The largest logit is no finite number."""


@dataclass(frozen=True)
class TokenChoice:
    """How one token is to be chosen: what `choose_token` takes besides the logits.

    `changes`: penalties and biases, which turn a row of logits into another before anything else; None where there
    are none.
    """

    options: SamplingOptions
    uniform: float
    mask: Mask | None
    changes: LogitChanges | None = None

    @property
    def is_largest(self) -> bool:
        """Whether the token is that of the largest logit, whatever came before."""
        return self.mask is None and self.changes is None and self.options.temperature == 0


def choose_tokens(logits: Logits, rows: Sequence[int], choices: Sequence[TokenChoice]) -> list[int]:
    """A token or `UNDEFINED` for each of `choices`, from the row of `logits` [n, vocabulary] that `rows` names."""
    if all(choice.is_largest for choice in choices):
        largest = logits.argmax(axis=1)
        # Of a row with NaN, that is what argmax finds.
        defined = np.isfinite(logits[np.arange(len(logits)), largest])
        tokens = np.where(defined, largest, UNDEFINED).tolist()
        return [tokens[row] for row in rows]
    return [_choose(logits[row], choice) for row, choice in zip(rows, choices, strict=True)]


def _choose(logits: Logits, choice: TokenChoice) -> int:
    try:
        return choose_token(logits, choice.options, choice.uniform, choice.mask, choice.changes)
    except UndefinedLogits:
        return UNDEFINED


def needs_logits(options: SamplingOptions) -> bool:
    """Whether whoever follows an output has to see its logits: what is chosen depends on more than `choose_token`
    takes, or more than the token is reported."""
    known = replace(options, max_tokens=1, max_words=None, temperature=0.0, top_p=1.0, top_k=0, min_p=0.0, stop=(),
                    regex=None, choices=None, type=None, stream_key=None, strip_leading_space=False, ignore_eos=False)
    return known != SamplingOptions(max_tokens=1)


def choose_token(logits: Logits, options: SamplingOptions, uniform: float, mask: Mask | None = None,
                 changes: LogitChanges | None = None) -> int:
    """The next token id, from float32 logits [vocabulary].

    First come `changes`. Then, greedy at temperature 0: the largest logit, the lowest id among equals. Otherwise mask,
    temperature, top-k, top-p, min-p in this order, each on what the one before left, then the inverse of the
    cumulative distribution in order of ids at `uniform` (float in [0, 1)). `mask`: allowed ids, at least one.
    Raises UndefinedLogits where the largest logit is not finite.
    """
    if changes is not None:
        logits = changes.apply(logits)
    if options.temperature == 0:
        return _largest_allowed(logits, mask)
    if mask is not None:
        logits = np.where(mask, logits, np.float32(-np.inf))
    ids, weights = _weights(logits, options)
    index = _draw(weights, uniform)
    return index if ids is None else int(ids[index])


def _largest_allowed(logits: Logits, mask: Mask | None) -> int:
    token = int(logits.argmax())
    _check_finite(float(logits[token]))
    if mask is None or mask[token]:
        return token
    ids = mask.nonzero()[0]
    if len(ids) < SPARSE:
        return int(ids[logits[ids].argmax()])
    return int(np.where(mask, logits, np.float32(-np.inf)).argmax())


def _check_finite(largest: float) -> None:
    if not math.isfinite(largest):
        raise UndefinedLogits("the model's logits are no finite numbers here; use dtype float32, or check its weights")


# What follows gives, bit for bit, what whole sorts and cumulative sums of float64 weights in order of ids give. It does
# less work where a bound on rounding shows that the outcome cannot depend on what is left out.


def _rounding(count: int, total: float) -> float:
    """More than two sums of `count` positive numbers, in whatever order they are taken, can differ."""
    return 4 * count * EPSILON * total


def _draw(weights: Weights, uniform: float) -> int:
    """The first place where the cumulative sum exceeds the share `uniform` of the sum."""
    if len(weights) > SHORT:
        index = _draw_by_blocks(weights, uniform)
        if index is not None:
            return index
    cumulative = np.cumsum(weights)
    index = int(cumulative.searchsorted(uniform * cumulative[-1], side="right"))
    return index if index < len(weights) else int(np.flatnonzero(weights)[-1])  # rounding can lift a draw to the sum


def _draw_by_blocks(weights: Weights, uniform: float) -> int | None:
    """As `_draw`, from sums of blocks and the weights of one block; None where rounding might decide."""
    whole = len(weights) // BLOCK * BLOCK
    ends = np.cumsum(np.append(weights[:whole].reshape(-1, BLOCK).sum(axis=1), weights[whole:].sum()))
    total = float(ends[-1])
    target = uniform * total
    number = int(ends.searchsorted(target, side="right"))
    if number == len(ends):
        return None
    before = float(ends[number - 1]) if number else 0.0
    inner = before + np.cumsum(weights[number * BLOCK : (number + 1) * BLOCK])
    index = int(inner.searchsorted(target, side="right"))
    if index == len(inner):
        return None
    below = float(inner[index - 1]) if index else before
    if min(float(inner[index]) - target, target - below) <= _rounding(len(weights), total):
        return None
    return number * BLOCK + index


def _weights(logits: Logits, options: SamplingOptions) -> tuple[Ids | None, Weights]:
    """Ids in order (None for all of them) and their float64 weights, not normalised, 0 where filtered."""
    largest = float(logits.max())
    _check_finite(largest)
    ids = _most_likely(logits, options, largest) if 0 < options.top_k < len(logits) else None
    weights = _exponentials(logits if ids is None else logits[ids], options, largest)
    if options.top_p < 1.0:
        chosen = _nucleus(weights, options.top_p)
        ids, weights = chosen if ids is None else ids[chosen], weights[chosen]
    if options.min_p > 0.0:
        weights[weights < options.min_p * weights.max()] = 0.0
    return ids, weights


def _exponentials(logits: Logits, options: SamplingOptions, largest: float) -> Weights:
    scaled = logits.astype(np.float64)
    scaled -= largest
    scaled /= options.temperature
    return np.exp(scaled, out=scaled)


def _most_likely(logits: Logits, options: SamplingOptions, largest: float) -> Ids:
    """The ids of the `top_k` largest weights, in order; of equal ones the lowest."""
    count = options.top_k
    some = _some_largest(logits, count)
    few = logits if some is None else logits[some]
    border = len(few) - count
    parts = np.partition(few, (border - 1, border))
    least, next_below = _exponentials(parts[[border, border - 1]], options, largest)
    if least == next_below:  # equal weights decide by their ids, be the logits equal or not
        return _largest(_exponentials(logits, options, largest), count, least)
    numbers = np.flatnonzero(few >= parts[border])
    return numbers if some is None else some[numbers]


def _some_largest(logits: Logits, count: int) -> Ids | None:
    """The ids of a few more than the `count` largest logits; None where it is better to look at all."""
    if len(logits) < SHORT or count * STRIDE > len(logits) // 8:
        return None
    sample = logits[::STRIDE]
    number = len(sample) - (4 * count // STRIDE + 8)
    ids = np.flatnonzero(logits >= np.partition(sample, number)[number])
    return ids if len(ids) > count else None


def _nucleus(weights: Weights, top_p: float) -> Ids:
    """The fewest of the largest weights whose sum reaches the share `top_p`, at least one; in order."""
    total = float(weights.sum())
    # What is left out here is less than the share 1 - top_p together.
    least = (1 - top_p) * total / len(weights) * (1 - 1e-6)
    for bound in (least, 0.0):
        falling = -np.sort(-weights[weights >= bound])
        cumulative = np.cumsum(falling)
        reach = top_p * (total if bound else float(cumulative[-1]))
        last = int(cumulative.searchsorted(reach, side="left"))
        slack = _rounding(len(weights), total) if bound else -1.0
        below = float(cumulative[last - 1]) if last else -total
        if last < len(falling) and cumulative[last] - reach > slack and reach - below > slack:
            break
    return _largest(weights, last + 1, falling[last])


def _largest(weights: Weights, count: int, least: float) -> Ids:
    """Where the `count` largest weights are, in order; `least` is the smallest of them, of equal ones the first."""
    stays = weights >= least
    excess = np.count_nonzero(stays) - count
    if excess:
        stays[np.flatnonzero(weights == least)[-excess:]] = False
    return np.flatnonzero(stays)


def log_probabilities(logits: Logits) -> NDArray[np.float64]:
    """Natural log-probabilities [vocabulary] of the model itself: before masks, temperature and filters."""
    shifted = logits.astype(np.float64) - float(logits.max())
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result


def most_probable(log_probabilities: NDArray[np.float64], count: int) -> list[int]:
    """The `count` most probable ids, most probable first, lower ids first among equals."""
    if count <= 0:
        return []
    count = min(count, len(log_probabilities))
    threshold = np.partition(log_probabilities, -count)[-count]
    candidates = np.flatnonzero(log_probabilities >= threshold)
    order = np.lexsort((candidates, -log_probabilities[candidates]))
    return [int(i) for i in candidates[order[:count]]]
