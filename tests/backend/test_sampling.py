"""Sampling: the distribution is right, filters keep what they say, and a row knows nothing of its batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from semlang.backend.engine import SamplingOptions
from semlang.backend.random_stream import stream_key, uniform
from semlang.backend.sampling import TokenChoice, choose_token, choose_tokens, log_probabilities, most_probable

LOGITS = np.log(np.array([0.4, 0.1, 0.3, 0.15, 0.05], dtype=np.float32))


def distribution(options: SamplingOptions, mask: np.ndarray | None = None) -> list[float]:
    """Shares of a fine grid of uniform numbers that fall on each token."""
    draws = [choose_token(LOGITS, options, (i + 0.5) / 4000, mask) for i in range(4000)]
    return [draws.count(i) / 4000 for i in range(len(LOGITS))]


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        (SamplingOptions(temperature=1.0), [0.4, 0.1, 0.3, 0.15, 0.05]),
        (SamplingOptions(temperature=0.5), [0.16 / 0.285, 0.01 / 0.285, 0.09 / 0.285, 0.0225 / 0.285, 0.0025 / 0.285]),
        (SamplingOptions(temperature=1.0, top_k=2), [4 / 7, 0, 3 / 7, 0, 0]),
        (SamplingOptions(temperature=1.0, top_p=0.7), [4 / 7, 0, 3 / 7, 0, 0]),
        (SamplingOptions(temperature=1.0, top_p=0.71), [0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85, 0]),
        (SamplingOptions(temperature=1.0, top_p=0.001), [1, 0, 0, 0, 0]),
        (SamplingOptions(temperature=1.0, min_p=0.3), [0.4 / 0.85, 0, 0.3 / 0.85, 0.15 / 0.85, 0]),
        (SamplingOptions(temperature=1.0, top_k=3, top_p=0.8), [4 / 7, 0, 3 / 7, 0, 0]),
    ],
)
def test_shares(options: SamplingOptions, shares: list[float]) -> None:
    assert distribution(options) == pytest.approx(shares, abs=1e-3)


def test_masks_come_before_filters() -> None:
    mask = np.array([False, True, True, True, True])
    shares = distribution(SamplingOptions(temperature=1.0, top_k=2), mask)
    assert shares == pytest.approx([0, 0, 2 / 3, 1 / 3, 0], abs=1e-3)
    assert choose_token(LOGITS, SamplingOptions(), 0.0, mask) == 2


def test_equal_logits_are_taken_in_order_of_ids() -> None:
    flat = np.zeros(6, dtype=np.float32)
    assert choose_token(flat, SamplingOptions(), 0.9) == 0
    assert choose_token(flat, SamplingOptions(temperature=1.0, top_k=2), 0.99) == 1
    assert choose_token(flat, SamplingOptions(temperature=1.0, top_p=0.3), 0.99) == 1
    assert most_probable(log_probabilities(flat), 3) == [0, 1, 2]
    assert most_probable(log_probabilities(LOGITS), 9) == [0, 2, 3, 1, 4]


@given(
    st.integers(0, 2**31), st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 0.3, 1.0, 5.0]),
    st.integers(0, 9), st.floats(0.01, 1), st.floats(0, 1),
)
def test_what_is_chosen_is_allowed(
    seed: int, draw: float, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(scale=4, size=(3, 50)).astype(np.float32)
    mask = random.random(50) < 0.2
    mask[random.integers(50)] = True
    options = SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    token = choose_token(rows[1], options, draw, mask)
    assert mask[token]
    assert token == choose_token(rows[1].copy(), options, draw, mask), "the row's surroundings matter"
    assert not np.isnan(log_probabilities(rows[1])).any()


def test_streams_depend_on_every_part_of_their_key_and_on_nothing_else() -> None:
    key = stream_key(1, "main/Think#0", [2, 3], "answer", 0)
    assert key == stream_key(1, "main/Think#0", (2, 3), "answer", 0)
    others = [
        stream_key(2, "main/Think#0", [2, 3], "answer", 0),
        stream_key(1, "main/Think#1", [2, 3], "answer", 0),
        stream_key(1, "main/Think#0", [3, 2], "answer", 0),
        stream_key(1, "main/Think#0", [2, 3], "answe", 0),
        stream_key(1, "main/Think#0", [2, 3], "answer", 1),
        stream_key(1, "main/Think#0", [23], "answer", 0),
        stream_key(1, "main/Think#0", [], "answer", 0),
    ]
    assert len({key, *others}) == 8
    draws = [uniform(key, i) for i in range(4000)]
    assert draws == [uniform(key, i) for i in range(4000)]
    assert all(0 <= d < 1 for d in draws)
    assert np.histogram(draws, bins=10, range=(0, 1))[0] == pytest.approx([400] * 10, abs=100)
    assert uniform(key, 5) != uniform(others[0], 5)


def by_whole_sorts(logits: NDArray[np.float32], options: SamplingOptions, draw: float) -> int:
    """What is chosen, as it is defined: everything sorted, summed in order of ids."""
    weights = np.exp((logits.astype(np.float64) - float(logits.max())) / options.temperature)
    order = np.lexsort((np.arange(len(weights)), -weights))
    if 0 < options.top_k < len(weights):
        weights[order[options.top_k :]] = 0.0
    if options.top_p < 1.0:
        order = np.lexsort((np.arange(len(weights)), -weights))
        cumulative = np.cumsum(weights[order])
        weights[order[int(np.searchsorted(cumulative, options.top_p * cumulative[-1])) + 1 :]] = 0.0
    if options.min_p > 0.0:
        weights[weights < options.min_p * weights.max()] = 0.0
    cumulative = np.cumsum(weights)
    index = int(np.searchsorted(cumulative, draw * cumulative[-1], side="right"))
    return min(index, int(np.flatnonzero(weights)[-1]))


@settings(max_examples=250, deadline=None)
@given(
    st.integers(0, 2**31), st.sampled_from([5, 300, 2049, 9000]), st.sampled_from([0.0, 1e-3, 1.0, 3.0, 60.0]),
    st.sampled_from([0.0, 0.5, 4.0]), st.sampled_from([0.01, 0.3, 1.0, 5.0, 1e6, 1e18]),
    st.sampled_from([0, 0, 1, 3, 50, 400, 3000]), st.sampled_from([1.0, 1.0, 1e-9, 0.5, 0.9, 0.999, 1 - 1e-12]),
    st.sampled_from([0.0, 0.0, 0.01, 1.0]), st.sampled_from([0.0, 1 - 2**-53, None]), st.booleans(),
)
def test_shortcuts_change_no_token(
    seed: int, size: int, scale: float, grid: float, temperature: float, top_k: int, top_p: float, min_p: float,
    draw: float | None, masked: bool,
) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(scale=scale, size=size).astype(np.float32)
    if grid:  # many equal logits
        logits = (np.round(logits * grid) / grid).astype(np.float32)
    if masked:
        logits[random.random(size) < 0.95] = -np.inf
        logits[random.integers(size)] = 0.0
    options = SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    draw = random.random() if draw is None else draw
    assert choose_token(logits, options, draw) == by_whole_sorts(logits, options, draw)


def test_many_rows_at_once_are_chosen_as_one_by_one() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(size=(4, 70)).astype(np.float32)
    mask = random.random(70) < 0.3
    greedy, sampled = SamplingOptions(), SamplingOptions(temperature=0.8, top_k=9)
    plain = [TokenChoice(greedy, 0.0, None)] * 5
    rows = [0, 0, 2, 3, 1]
    assert choose_tokens(logits, rows, plain) == [int(logits[row].argmax()) for row in rows]
    mixed = [plain[0], TokenChoice(greedy, 0.0, mask), TokenChoice(sampled, 0.7, None), TokenChoice(sampled, 0.2, mask)]
    assert choose_tokens(logits, rows[:4], mixed) == [
        choose_token(logits[row], one.options, one.uniform, one.mask) for row, one in zip(rows, mixed, strict=False)]


@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.001, 0.4, 0.99]), st.booleans())
def test_the_largest_allowed_logit_wins(seed: int, share: float, equal: bool) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=9000).astype(np.float32)
    if equal:
        logits = np.round(logits)
    mask = random.random(9000) < share
    mask[random.integers(9000)] = True
    allowed = np.flatnonzero(mask)
    assert choose_token(logits, SamplingOptions(), 0.0, mask) == allowed[logits[allowed].argmax()]
