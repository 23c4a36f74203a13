"""Tokens chosen on a device are those that the host chooses, and no row knows of the others."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semlang.backend.device_runner import TokenChoices
from semlang.backend.engine import SamplingOptions
from semlang.backend.sampling import UNDEFINED, TokenChoice, choose_token, choose_tokens
from semlang.backend.torch_engine.device_sampling import choose_on_device


@st.composite
def choices(draw: st.DrawFn) -> tuple[np.ndarray, list[TokenChoice], list[int]]:
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    size, rows = draw(st.sampled_from([2, 7, 8, 97, 400])), draw(st.integers(1, 6))
    logits = (random.normal(size=(rows, size)) * draw(st.sampled_from([0.5, 3.0, 30.0]))).astype(np.float32)
    if draw(st.booleans()):
        logits = np.round(logits)  # many equal ones
    found, places = [], []
    for _ in range(draw(st.integers(1, 8))):
        options = SamplingOptions(
            temperature=draw(st.sampled_from([0.0, 0.3, 1.0, 5.0])), top_k=draw(st.sampled_from([0, 1, 3, 50])),
            top_p=draw(st.sampled_from([1.0, 0.9, 0.3, 0.01])), min_p=draw(st.sampled_from([0.0, 0.1, 1.0])))
        mask = None
        if draw(st.booleans()):
            mask = random.random(size) < 0.3
            mask[random.integers(size)] = True
        found.append(TokenChoice(options, float(random.random()), mask))
        places.append(int(random.integers(rows)))
    return logits, found, places


@settings(max_examples=150, deadline=None)
@given(given_choices=choices())
def test_the_device_chooses_as_the_host(given_choices: tuple[np.ndarray, list[TokenChoice], list[int]]) -> None:
    logits, wanted, places = given_choices
    size = logits.shape[1]
    expected = [choose_token(logits[place], choice.options, choice.uniform, choice.mask)
                for place, choice in zip(places, wanted, strict=True)]
    on_device = torch.from_numpy(logits)
    together = choose_on_device(on_device, TokenChoices.of(wanted, places, size)).tolist()
    assert together == expected
    alone = [choose_on_device(on_device[place : place + 1], TokenChoices.of([choice], [0], size)).item()
             for place, choice in zip(places, wanted, strict=True)]
    assert alone == together, "a row's token depends on the other rows"


def test_ids_that_the_tokenizer_lacks_are_never_chosen() -> None:
    logits = torch.tensor([[0.0, 1.0, 9.0]])
    sampled = TokenChoice(SamplingOptions(temperature=1.0), 0.999, None)
    assert choose_on_device(logits, TokenChoices.of([sampled, sampled], [0, 0], 2)).tolist() == [1, 1]


def test_16_bit_logits() -> None:
    logits = torch.tensor([[0.5, 2.0, 2.0]], dtype=torch.bfloat16)
    greedy = TokenChoice(SamplingOptions(), 0.0, None)
    masked = TokenChoice(SamplingOptions(), 0.0, np.array([True, False, False]))
    assert choose_on_device(logits, TokenChoices.of([greedy, masked], [0, 0], 3)).tolist() == [1, 0]


def test_shares_of_a_large_vocabulary() -> None:
    """2^18 equal logits: sums of integers neither overflow nor lose anything."""
    size = 1 << 18
    logits, options = torch.zeros(1, size), SamplingOptions(temperature=1.0)
    chosen = [choose_on_device(logits, TokenChoices.of([TokenChoice(options, draw, None)], [0], size)).item()
              for draw in (0.0, 0.5, 0.9999999)]
    assert chosen == [0, size // 2, int(0.9999999 * size)]


def test_a_row_without_finite_numbers_has_no_token_and_others_have_theirs() -> None:
    greedy, sampled = (TokenChoice(SamplingOptions(temperature=heat), 0.5, None) for heat in (0.0, 1.0))
    logits = torch.tensor([[0.0, torch.nan, 1.0], [0.0, 5.0, 1.0], [-torch.inf] * 3, [torch.inf, 0.0, 0.0]])
    for choice in greedy, sampled:
        chosen = choose_on_device(logits, TokenChoices.of([choice] * 4, range(4), 3)).tolist()
        assert chosen == [UNDEFINED, 1, UNDEFINED, UNDEFINED]
        assert chosen == choose_tokens(logits.numpy(), range(4), [choice] * 4)
