"""Constrained outputs always parse, keep their budget, and end where the model wants them to."""

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from semlang.backend.decoding.byte_automaton import DEAD, UNREACHABLE, ByteAutomaton, compile_pattern
from semlang.backend.decoding.byte_nfa import utf8_sequences
from semlang.backend.decoding.constraint import constraint_of, minimum_tokens
from semlang.backend.decoding.grammar import type_pattern
from semlang.backend.decoding.output_decoder import OutputDecoder
from semlang.backend.decoding.regex_parser import parse_regex
from semlang.backend.decoding.token_automaton import TokenAutomaton, TokenState
from semlang.backend.decoding.token_table import TokenTable
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.engine import EngineError, Generation, SamplingOptions
from semlang.backend.reference import reference_runner
from semlang.ir.reading import ValueMismatch, parse_value
from semlang.ir.types import BOOL, FLOAT, INT, TEXT, Enum, EnumMember, Field, Int, List, Map, Option, Record, Text, Type

TOKENIZER = embedded_tokenizer()
SIZE = TOKENIZER.vocabulary_size
(EOS,) = TOKENIZER.eos_ids
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEVERITY = Enum("Severity", (EnumMember("low", "low"), EnumMember("lower", "lower"), EnumMember("new", 'Un"seen')))

leaves = st.sampled_from(
    [TEXT, Text(0), Text(1), Text(3), INT, Int(0, 10), Int(-7, 1234), FLOAT, BOOL, SEVERITY]
)


def nested(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    fields = st.lists(inner, max_size=3).map(lambda ts: Record("R", tuple(Field(f"f{i}", t) for i, t in enumerate(ts))))
    lists = st.builds(List, inner, st.sampled_from([None, 0, 1, 3]))
    return lists | fields | st.builds(Map, inner) | inner.filter(lambda t: not isinstance(t, Option)).map(Option)


types = st.recursive(leaves, nested, max_leaves=4).filter(lambda t: not isinstance(t, Text))


def accepts(automaton: ByteAutomaton, data: bytes) -> bool:
    state = automaton.start
    for byte in data:
        state = int(automaton.next[state, byte])
        if state == DEAD:
            return False
    return bool(automaton.accepting[state])


def generate(options: SamplingOptions, seed: int) -> Generation:
    """An output from random rows of the reference model."""
    runner = reference_runner(TOKENIZER, 64)
    random = np.random.default_rng(seed)
    decoder = OutputDecoder(options, TOKENIZER, SIZE)
    row = np.empty(SIZE, dtype=np.float32)
    while decoder.finished is None:
        runner._fill_logits(row, int(random.integers(2**63)), True)
        decoder.advance(row)
    return decoder.finished


def bounded_texts(value: Any, type: Type) -> list[tuple[str, int]]:
    """Texts inside a value with the bound that they are under."""
    match type:
        case Text(max_tokens):
            return [] if max_tokens is None else [(value, max_tokens)]
        case List(element):
            return [t for v in value for t in bounded_texts(v, element)]
        case Map(element):
            return [t for v in value.values() for t in bounded_texts(v, element)]
        case Option(element):
            return [] if value is None else bounded_texts(value, element)
        case Record(_, fields):
            return [t for f in fields for t in bounded_texts(value[f.name], f.type)]
        case _:
            return []


@SLOW
@given(types, st.integers(0, 10), st.integers(0, 2**31), st.booleans(), st.booleans())
def test_outputs_parse_and_keep_their_budget(type: Type, spare: int, seed: int, sampled: bool, strip: bool) -> None:
    budget = minimum_tokens(type, TOKENIZER) + spare
    options = SamplingOptions(
        budget, type=type, temperature=1.2 if sampled else 0.0, stream_key=b"k", strip_leading_space=strip
    )
    generation = generate(options, seed)
    assert len(generation.sampled_ids) <= budget
    value = parse_value(generation.text, type)
    for text, bound in bounded_texts(value, type):
        assert len(text.encode()) <= bound * TOKENIZER.longest_token_bytes
    assert generation.finish_reason in ("complete", "length")
    if spare == 0 and not strip:
        with pytest.raises(EngineError, match="the shortest value has"):
            generate(SamplingOptions(budget - 1, type=type), seed)


@SLOW
@given(st.integers(0, 4), st.integers(0, 2**31), st.booleans())
def test_no_more_tokens_than_its_bound_overlap_a_text(bound: int, seed: int, sampled: bool) -> None:
    text = Text(bound)
    type = Record("R", (Field("a", text), Field("l", List(text, 4)), Field("o", Option(text))))
    temperature = 3.0 if sampled else 0.0
    generation = generate(SamplingOptions(200, type=type, temperature=temperature, stream_key=b"k"), seed)
    ends = np.cumsum([len(TOKENIZER.token_bytes(t)) for t in generation.kept_ids]).tolist()
    starts = [0, *ends[:-1]]
    data = generation.text.encode()
    for found in re.finditer(rb'"((?:[^"\\]|\\.)*)"(:?)', data):
        first, last = found.span(1)
        if found[2]:
            continue  # the name of a field
        overlapping = [1 for a, b in zip(starts, ends, strict=True) if max(a, first) < min(b, last)]
        assert len(overlapping) <= bound


@SLOW
@given(types, st.integers(0, 2**31))
def test_the_grammar_admits_the_compact_json_of_every_value(type: Type, seed: int) -> None:
    generation = generate(SamplingOptions(200, type=type), seed)
    automaton = compile_pattern(type_pattern(type))
    assert accepts(automaton, generation.text.encode())
    value = parse_value(generation.text, type)
    if isinstance(type, List | Map | Record) and "E" not in generation.text.upper():
        rendered = json.dumps(json.loads(generation.text), ensure_ascii=False, separators=(",", ":"))
        assume(len(set(_keys(generation.text))) == len(_keys(generation.text)))
        assert parse_value(rendered, type) == value


def _keys(text: str) -> list[str]:
    return re.findall(r'"((?:[^"\\]|\\.)*)":', text)


def brute_force_distances(automaton: TokenAutomaton) -> dict[TokenState, int]:
    """Distances by stepping every token from every state, one by one."""
    after: dict[TokenState, set[TokenState]] = {}
    stack = [automaton.start]
    while stack:
        state = stack.pop()
        if state not in after:
            tokens = np.flatnonzero(automaton.mask(state, 10**9))
            after[state] = {automaton.advance(state, int(t)) for t in tokens}
            stack.extend(after[state])
    distances = {state: 0 for state in after if automaton.is_accepting(state)}
    while True:
        more = {s: 1 + min(distances[t] for t in ts if t in distances) for s, ts in after.items()
                if s not in distances and any(t in distances for t in ts)}
        if not more:
            return {state: distances.get(state, UNREACHABLE) for state in after}
        lowest = min(more.values())
        distances |= {s: d for s, d in more.items() if d == lowest}


long_tokens = [b"aa", b'a"', b'",', b'"]', b'["', b'","', b"\xc3", b"\xa9", b"\xa9a", b'\xa9"', b"\\", b"{}", b'":']
small_vocabularies = st.lists(st.binary(max_size=1) | st.sampled_from(long_tokens), max_size=24)


@SLOW
@given(types, small_vocabularies, st.booleans(), st.data())
def test_masks_are_exact(type: Type, extra: list[bytes], all_bytes: bool, data: st.DataObject) -> None:
    """A token is allowed iff the value can be completed after it within the budget."""
    needed = sorted({bytes([b]) for b in b'[]{}",:truefalsn0123456789.-lowRf\\Un'})
    tokens = [b"", *([bytes([b]) for b in range(256)] if all_bytes else needed), *extra]
    automaton = TokenAutomaton(compile_pattern(type_pattern(type)), TokenTable(tokens))
    assume(len(automaton.bytes.next) < 60)
    distances = brute_force_distances(automaton)
    for _ in range(6):
        state = data.draw(st.sampled_from(sorted(distances)))
        assert automaton.minimum_tokens(state) == distances[state]
        budget = data.draw(st.integers(1, 30))
        unhurried = automaton.mask(state, 10**9)
        wanted = [
            bool(unhurried[t]) and distances[automaton.advance(state, t)] <= budget - 1 for t in range(len(tokens))
        ]
        assert automaton.mask(state, budget).tolist() == wanted


def test_bounded_texts_count_their_tokens() -> None:
    tokens = [bytes([b]) for b in range(256)] + [b"ab", b'ab"', b'"ab', b'","']
    automaton = TokenAutomaton(compile_pattern(type_pattern(List(Text(2)))), TokenTable(tokens))
    ab, ab_quote, quote_ab, comma = range(256, 260)
    state = automaton.advance(automaton.start, ord("["))
    state = automaton.advance(state, quote_ab)
    assert state.tokens_in_text == 1
    assert automaton.mask(state, 99)[[ab, ord("a"), ab_quote, comma, 0xE2]].tolist() == [True, True, True, True, False]
    two = automaton.advance(state, ab)
    assert automaton.mask(two, 99)[[ab, ord("a"), ab_quote, comma, 34]].tolist() == [False, False, False, True, True]
    assert automaton.advance(two, comma).tokens_in_text == 0


# ---- ends ----


def row(*tokens: int) -> np.ndarray:
    """Logits that want the first token most, then the second, and so on."""
    logits = np.zeros(SIZE, dtype=np.float32)
    for i, token in enumerate(tokens):
        logits[token] = len(tokens) - i
    return logits


def token(text: str) -> int:
    (found,) = TOKENIZER.encode_piece(text, first=False)
    return found


def test_a_value_ends_iff_the_free_choice_does_not_continue_it() -> None:
    decoder = OutputDecoder(SamplingOptions(type=INT), TOKENIZER, SIZE)
    decoder.advance(row(token("a"), token("4")))  # masked: a value must begin
    assert decoder.finished is None
    decoder.advance(row(token("2"), EOS))
    assert decoder.finished is None
    decoder.advance(row(token("a"), token("7")))  # the free choice is no digit
    assert decoder.finished is not None
    assert (decoder.finished.text, decoder.finished.finish_reason) == ("42", "complete")
    assert decoder.finished.sampled_ids == (token("4"), token("2"))


def test_a_value_that_nothing_can_follow_ends_at_once() -> None:
    decoder = OutputDecoder(SamplingOptions(choices=("x", "x", "y")), TOKENIZER, SIZE)
    decoder.advance(row(token("y")))
    assert decoder.finished is not None and decoder.finished.finish_reason == "complete"


def test_a_choice_that_begins_another_can_be_had() -> None:
    options = SamplingOptions(choices=("a", "ab"))
    decoder = OutputDecoder(options, TOKENIZER, SIZE)
    decoder.advance(row(token("a")))
    assert decoder.finished is None
    decoder.advance(row(EOS))
    assert decoder.finished is not None and decoder.finished.text == "a"


def test_tokens_without_alternative_are_not_asked_for() -> None:
    options = SamplingOptions(regex="a\U0001f40d?")
    decoder = OutputDecoder(options, TOKENIZER, SIZE)
    assert decoder.tokens == [token("a")] and decoder.sampled == 1
    decoder.advance(row(TOKENIZER.encode_piece("\U0001f40d", first=False)[0]))
    assert decoder.finished is not None and decoder.finished.text == "a\U0001f40d"
    with_logprobs = OutputDecoder(SamplingOptions(regex="a", logprobs=1), TOKENIZER, SIZE)
    assert with_logprobs.tokens == []


def test_the_budget_forces_the_shortest_end() -> None:
    options = SamplingOptions(minimum_tokens(List(INT), TOKENIZER) + 1, type=List(INT))
    decoder = OutputDecoder(options, TOKENIZER, SIZE)
    decoder.advance(row(token("[")))
    while decoder.finished is None:
        decoder.advance(row(token("7")))
    parse_value(decoder.finished.text, List(INT))


def test_a_number_cut_by_its_budget_says_so() -> None:
    decoder = OutputDecoder(SamplingOptions(2, type=INT), TOKENIZER, SIZE)
    decoder.advance(row(token("1")))
    decoder.advance(row(token("2")))
    assert decoder.finished is not None and decoder.finished.finish_reason == "length"


@pytest.mark.parametrize(("first", "value"), [(" ", " x"), (" x", "x")])
def test_one_leading_space_may_come_before_a_value(first: str, value: str) -> None:
    """A choice that begins with a space keeps it: it is never taken for the space that is cut."""
    options = SamplingOptions(choices=(" x", "x"), strip_leading_space=True)
    automaton = constraint_of(options, TOKENIZER, SIZE)
    assert automaton is not None
    assert accepts(automaton.bytes, b"  x") and accepts(automaton.bytes, b" x") and accepts(automaton.bytes, b"x")
    assert not accepts(automaton.bytes, b"   x")
    decoder = OutputDecoder(options, TOKENIZER, SIZE)
    while decoder.finished is None:
        decoder.advance(row(token(first) if not decoder.tokens else token(" x"), token("x")))
    assert decoder.finished.text == value
    held = b"".join(TOKENIZER.token_bytes(i) for i in decoder.finished.kept_ids + decoder.finished.tail_ids)
    assert held == (" " + value).encode()


# ---- grammars ----


@pytest.mark.parametrize(
    ("type", "good", "bad"),
    [
        (INT, ["0", "-1", str(2**63 - 1), str(-(2**63))], ["", "-", "-0", "01", "1.0", " 1", str(2**63)]),
        (FLOAT, ["0", "-0", "1.5", "9999999999999999e99", "1e-5", "0.25E+10"], ["", ".5", "1.", "1e999", "01", "1e"]),
        (BOOL, ["true", "false"], ["True", "tru", "truefalse"]),
        (SEVERITY, ["low", "lower", 'Un"seen'], ["lo", '"low"', "new"]),
        (Option(SEVERITY), ["null", '"low"', '"Un\\"seen"'], ["low", ""]),
        (List(INT, 2), ["[]", "[1]", "[1,2]"], ["[1,2,3]", "[1, 2]", "[,]", "[1,]"]),
        (List(INT, 0), ["[]"], ["[1]"]),
        (List(TEXT), ['["é","\\n","\\u00e9","\\ud7ff"]'], ['["\n"]', '["\\x"]', '["\\ud800"]', '["\\uDFFF"]', '["a]']),
        (Map(BOOL), ["{}", '{"a":true,"b":false}'], ['{a:true}', '{"a":true,}', '{"a": true}']),
        (Record("R", (Field("a", INT), Field("b", Option(INT)))), ['{"a":1,"b":null}'], ['{"a":1}', '{"b":1,"a":1}']),
        (Record("R", ()), ["{}"], [""]),
    ],
)
def test_grammars(type: Type, good: list[str], bad: list[str]) -> None:
    automaton = compile_pattern(type_pattern(type))
    for text in good:
        assert accepts(automaton, text.encode()), text
        parse_value(text, type)
    for text in bad:
        assert not accepts(automaton, text.encode()), text
    assert not accepts(automaton, b'["\xff"]') and not accepts(automaton, b'["\xed\xa0\x80"]')


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.data())
def test_int_bounds_are_exact(a: int, b: int, number: int, data: st.DataObject) -> None:
    low, high = min(a, b), max(a, b)
    automaton = compile_pattern(type_pattern(Int(low, high)))
    near = data.draw(st.sampled_from([low - 1, low, low + 1, high - 1, high, high + 1, number]))
    assert accepts(automaton, str(near).encode()) == (low <= near <= high)


def test_types_without_texts_are_refused() -> None:
    with pytest.raises(EngineError, match="no text matches"):
        compile_pattern(type_pattern(Int(5, 4)))
    with pytest.raises(EngineError, match="cannot be generated"):
        minimum_tokens(Record("R", (Field("c", Type()),)), TOKENIZER)
    with pytest.raises(EngineError, match="too large"):
        compile_pattern(type_pattern(List(List(INT, 1000), 1000)))
    assert minimum_tokens(TEXT, TOKENIZER) == 0
    assert minimum_tokens(SamplingOptions(choices=("zzz", "x y z", "zx")), TOKENIZER) == 2


# ---- patterns of users ----

REGEXES = [
    r"a|ab|abc", r"[a-c]*", r"(?:ab){2,3}", r"a{0,18}b", r"\d+(\.\d*)?", r"[^ab]", r"(?i)ab[a-c]", r"(?s).", r".",
    r"\w\W",
    r"[\d\s]*", r"^ab$", r"a+?b", r"é[à-ü]", r"\x41\u00e9", r"", r"(a(b|c))*", r"[^\w]", r"a(?i:b)c", r"\$\^", r"x|",
    r"\S\D",
]


@SLOW
@given(st.sampled_from(REGEXES), st.text("abcAB \n$^1.é_ x", max_size=7))
def test_patterns_match_as_python_does(regex: str, text: str) -> None:
    automaton = compile_pattern(parse_regex(regex))
    try:
        wanted = re.fullmatch(regex, text, re.ASCII) is not None
    except re.error:
        wanted = re.fullmatch(regex, text) is not None
    assert accepts(automaton, text.encode()) == wanted


@SLOW
@given(st.sampled_from(REGEXES), st.data())
def test_patterns_match_what_they_generate(regex: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(re.compile(regex, re.ASCII), fullmatch=True))
    assume(not any(0xD800 <= ord(c) < 0xE000 for c in text))
    assume("(?i" not in regex or text.isascii())  # (?i) changes the case of ASCII letters only
    assert accepts(compile_pattern(parse_regex(regex)), text.encode())


@pytest.mark.parametrize("regex", [r"a(?=b)", r"(a)\1", r"\bab", r"a^b", r"a$b", r"(?<!a)b", r"(?>a)b", r"[", r"a**"])
def test_other_patterns_are_refused(regex: str) -> None:
    with pytest.raises(EngineError):
        parse_regex(regex)


@given(st.integers(0, 0x10FFFF), st.integers(0, 0x10FFFF), st.integers(0, 0x10FFFF))
def test_code_point_ranges_become_bytes(a: int, b: int, point: int) -> None:
    assume(not 0xD800 <= point < 0xE000)
    low, high = min(a, b), max(a, b)
    sequences = utf8_sequences(((low, high),))
    data = chr(point).encode()
    same_length = [s for s in sequences if len(s) == len(data)]
    matches = [s for s in same_length if all(x <= y <= z for (x, z), y in zip(s, data, strict=True))]
    assert len(matches) == (low <= point <= high)


def test_parse_value_refuses_what_no_grammar_admits() -> None:
    with pytest.raises(ValueMismatch):
        parse_value("5", Int(0, 4))
