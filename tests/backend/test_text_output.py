"""Where a text ends, what is streamed of it, and which tokens its context keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.backend.decoding.kept_tokens import split_kept
from semlang.backend.decoding.output_decoder import OutputDecoder
from semlang.backend.decoding.text_output import TextOutput
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.engine import Generation, SamplingOptions

TOKENIZER = embedded_tokenizer()
(EOS,) = TOKENIZER.eos_ids
ALPHABET = st.text("ab \n", max_size=12)


def ids(text: str) -> list[int]:
    return TOKENIZER.encode_piece(text, first=False)


def byte_tokens(text: str) -> list[int]:
    """One token for each byte."""
    by_bytes = {TOKENIZER.token_bytes(i): i for i in range(TOKENIZER.vocabulary_size)}
    return [by_bytes[bytes([b])] for b in text.encode()]


def decode(tokens: list[int], options: SamplingOptions) -> tuple[Generation, list[str]]:
    """The output of a model that wants exactly these tokens."""
    decoder = OutputDecoder(options, TOKENIZER, TOKENIZER.vocabulary_size)
    pieces = []
    for token in tokens:
        if decoder.finished is not None:
            break
        logits = np.zeros(TOKENIZER.vocabulary_size + 7, dtype=np.float32)  # models may have more rows than tokens
        logits[token] = 1.0
        decoder.advance(logits)
        pieces.append(decoder.take_text())
    assert decoder.finished is not None, "the output has not ended"
    return decoder.finished, pieces


def end_of(text: str, stops: tuple[str, ...], max_words: int | None) -> tuple[int, str] | None:
    """Where the text ends, found one character at a time, and why."""
    for end in range(1, len(text) + 1):
        matches = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if matches:
            return min(matches), "stop"
        words = text[:end].split()
        if max_words is not None and len(words) > max_words:
            kept = text[: end - len(words[-1])]
            return (len(kept.rstrip()) if max_words else 0), "words"
    return None


STOPS = st.lists(st.text("ab \n", min_size=1, max_size=4), max_size=3)


@given(ALPHABET, STOPS, st.none() | st.integers(0, 3), st.data())
def test_a_text_ends_where_the_first_reason_is_complete(
    text: str, stops: list[str], max_words: int | None, data: st.DataObject
) -> None:
    output = TextOutput(tuple(stops), max_words, strip_leading_space=False)
    streamed, position = "", 0
    while position < len(text) and output.reason is None:
        size = data.draw(st.integers(1, 4))
        output.push(text[position : position + size])
        position += size
        streamed += output.take()
        assert text.startswith(streamed)
    output.finish("eos")
    streamed += output.take()
    end = end_of(text, tuple(stops), max_words)
    assert (output.text, output.reason) == ((text, "eos") if end is None else (text[: end[0]], end[1]))
    assert streamed == output.text


def test_text_is_released_as_soon_as_it_cannot_change() -> None:
    output = TextOutput(("END",), 3, strip_leading_space=True)
    released = []
    for piece in [" one", " E", "a EN", "d ", "\n", "four"]:
        output.push(piece)
        released.append(output.take())
    assert released == ["one", " ", "Ea ", "ENd", "", ""]
    assert output.text == "one Ea ENd" and output.reason == "words"


@pytest.mark.parametrize(
    ("text", "options", "value", "reason"),
    [
        ("one two", SamplingOptions(), "one two", "eos"),
        ("one\ntwo", SamplingOptions(stop=("\n",)), "one", "stop"),
        ("one two three", SamplingOptions(stop=("o th", "wo")), "one t", "stop"),
        ("one two  three", SamplingOptions(max_words=2), "one two", "words"),
        ("one two \n", SamplingOptions(max_words=2), "one two \n", "eos"),
        (" one", SamplingOptions(strip_leading_space=True), "one", "eos"),
        ("  one", SamplingOptions(strip_leading_space=True), " one", "eos"),
        (" one two", SamplingOptions(strip_leading_space=True, stop=(" ",)), "one", "stop"),
        ("", SamplingOptions(strip_leading_space=True), "", "eos"),
    ],
)
def test_ends_of_text(text: str, options: SamplingOptions, value: str, reason: str) -> None:
    generation, pieces = decode([*ids(text), EOS], options)
    assert (generation.text, generation.finish_reason) == (value, reason)
    assert "".join(pieces) == value
    assert generation.sampled_ids[-1] == EOS or reason != "eos"


@given(st.text(), st.integers(0, 20), st.booleans(), st.sampled_from([(), ("e",), ("\n", "th"), ("é",)]))
def test_the_context_holds_the_value_and_keeps_what_was_generated(
    text: str, limit: int, strip: bool, stop: tuple[str, ...]
) -> None:
    tokens = ids(text)
    options = SamplingOptions(limit, stop=stop, strip_leading_space=strip)
    generation, pieces = decode([*tokens, EOS], options)
    assert "".join(pieces) == generation.text
    held = b"".join(TOKENIZER.token_bytes(i) for i in generation.kept_ids + generation.tail_ids)
    cut = " " if strip and text.startswith(" ") and limit > 0 else ""
    assert held == (cut + generation.text).encode()
    assert generation.kept_ids == tuple(tokens[: len(generation.kept_ids)])
    assert len(generation.sampled_ids) <= limit
    if generation.finish_reason == "eos":
        assert generation.text == text.removeprefix(cut) and generation.kept_ids == tuple(tokens)
    if not stop and generation.finish_reason == "length":
        assert generation.tail_ids == (), "nothing but half a character was cut"


def test_a_character_in_several_tokens_is_never_shown_in_halves() -> None:
    single = byte_tokens("é€")
    generation, pieces = decode([*single, EOS], SamplingOptions(stop=("€",)))
    assert pieces == ["", "é", "", "", ""] and generation.text == "é"
    generation, pieces = decode(single, SamplingOptions(4))
    assert generation.text == "é" and generation.kept_ids == tuple(single[:2]) and generation.finish_reason == "length"


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    byte = next(i for i in range(TOKENIZER.vocabulary_size) if TOKENIZER.token_bytes(i) == b"\x80")
    (a, b) = (ids("a")[0], ids("b")[0])
    generation, _ = decode([a, byte, b, EOS], SamplingOptions())
    assert generation.text == "a\ufffdb"
    assert generation.kept_ids == (a,) and generation.tail_ids == tuple(ids("\ufffdb"))


def test_kept_tokens_stop_before_half_a_character() -> None:
    single = byte_tokens("é")
    kept, tail = split_kept([ids("a")[0], single[0], ids("b")[0]], "aé", False, TOKENIZER)
    assert kept == ids("a") and tail == ids("é")


def test_log_probabilities_stand_beside_every_sampled_token() -> None:
    generation, _ = decode([*ids("yes no"), EOS], SamplingOptions(logprobs=2))
    assert len(generation.logprobs) == len(generation.sampled_ids)
    first = generation.logprobs[0]
    assert first.top[0] == (first.token, first.logprob) and len(first.top) == 2
    total = np.log(np.exp(1.0) + TOKENIZER.vocabulary_size - 1)
    assert first.logprob == pytest.approx(1.0 - total)
    assert decode([EOS], SamplingOptions(logprobs=0))[0].logprobs[0].top == ()


def test_end_of_text_can_be_ignored() -> None:
    generation, _ = decode([EOS, *ids("a"), EOS], SamplingOptions(3, ignore_eos=True))
    assert generation.text == "a" and generation.kept_ids == (EOS, *ids("a"), EOS)


def test_a_long_text_is_kept_only_once() -> None:
    """What is released is looked at no more, so pieces cost what they are long."""
    output = TextOutput(("\n\nEND",), None, strip_leading_space=False)
    pieces = []
    for number in range(3000):
        output.push(f"é{number}\n")
        pieces.append(output.take())
        assert sum(map(len, output._kept)) <= 1 and len(output._tail) <= 4
    output.push("\nEN")
    assert output.take() == "", "this may be the stop string"
    output.push("DLESS")
    assert output.reason == "stop"
    assert "".join(pieces) + output.take() == output.text == "\n".join(f"é{number}" for number in range(3000))
