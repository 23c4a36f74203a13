"""Bounds of values, prompts, outputs and turns, and prompts that can never fit."""

import json
import random

import pytest
from byte_tokenizer import ByteTokenizer
from hypothesis import given
from hypothesis import strategies as st
from semlang.ir.core import Module, Op, Value, walk
from semlang.ir.diagnostics import InputError
from semlang.ir.parser import parse_module
from semlang.ir.rendering import json_text, render
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.ir.types import INT, TEXT, Field, List, Map, Option, Record, Type
from semlang.ir.verifier import verify
from semlang.passes.bound_lengths import BoundLengths, check_contexts
from semlang.passes.intervals import Interval
from semlang.passes.lengths import Lengths
from semlang.passes.value_bounds import constant_bounds, type_bounds


class Bytes(ByteTokenizer):
    """A BOS, and a longest token of two bytes; never more tokens than bytes."""

    bos_id: int | None = 1
    longest_token_bytes = 2
    bytes_bound_tokens = True


TARGET = Target({"": ModelTarget(Bytes(), 100)})


def parsed(body: str) -> Module:
    header = 'sem.enum(@Mood) {members = ["good", "bad"], texts = ["very good", "bad"]}\n'
    text = header + "sem.program(@Main) |%a: text, %c: bool, %xs: list<text>, %n: int| {\n" + body + "\n}"
    module = parse_module(SourceFile("test.sir", text))
    verify(module)
    return module


def bounds(body: str, target: Target = TARGET) -> tuple[Lengths, dict[str, Value], dict[str, list[Op]]]:
    """The bounds of a body, its values by name, and its operations by name."""
    module = parsed(body + "\nsem.return() {names = []}")
    named: dict[str, Value] = {}
    ops: dict[str, list[Op]] = {}
    for op in walk(module.ops):
        ops.setdefault(op.name, []).append(op)
        named.update((v.name, v) for v in (*op.results, *(p for r in op.regions for p in r.parameters)))
    return Lengths(module, target), named, ops


def test_values() -> None:
    lengths, values, _ = bounds("""
        %ab = flow.const("ab") : text
        %two = flow.const(2) : int
        %both = flow.pure(@concat, %ab, %ab, %a) : text
        %up = flow.pure(@upper, %ab) : text
        %list = flow.pure(@list, %ab, %both) : list<text>
        %some = flow.pure(@index, %list, %two) : option<text>
        %it = flow.pure(@unwrap, %some) : text
        %count = flow.pure(@len, %list) : int
        %shown = flow.pure(@render, %list) : text
        %sure = flow.pure(@list, %ab, %ab) : list<text>
        %json = flow.pure(@render, %sure) : text""")
    assert lengths.of(values["ab"]).bytes == Interval(2, 2)
    assert lengths.of(values["both"]).bytes == Interval(4, None)
    assert lengths.of(values["up"]).bytes == Interval(1, 6)
    assert lengths.of(values["it"]).bytes == Interval(2, None)
    assert lengths.of(values["count"]).number == Interval(2, 2)
    assert lengths.of(values["shown"]).bytes == Interval(len('["ab","ab"]'), None)
    assert lengths.of(values["json"]).bytes == Interval(len('["ab","ab"]'), len('["ab","ab"]'))


def test_prompts_and_outputs() -> None:
    lengths, values, ops = bounds("""
        %0 = prompt.start() : prompt
        %p = prompt.append(%0, "12345") : prompt
        %x, %q = prompt.generate(%p) {output = "x", max_tokens = 7} : text, prompt
        %m, %r = prompt.generate(%q) {output = "m"} : enum<Mood>, prompt
        %i, %s = prompt.generate(%r) {output = "i"} : int<0..10>, prompt
        %k, %t = prompt.generate(%s) {output = "k", choices = ["abc", "d"], strip_space = true} : text, prompt
        %u = prompt.append(%t, %k) {space = true} : prompt""")
    text, mood, number, choice = ops["prompt.generate"]
    assert lengths.context(values["p"]).tokens == Interval(6, 6)  # BOS and five bytes
    assert lengths.output(text).decoded == Interval(1, 7)
    assert lengths.of(values["x"]).bytes == Interval(0, 14)
    assert lengths.context(values["q"]).tokens == Interval(6, 13)
    assert lengths.output(mood).decoded == Interval(2, 9)
    assert lengths.output(number).decoded == Interval(1, 2)
    assert lengths.context(values["s"]).tokens == Interval(6 + 2 + 1, 13 + 9 + 2)
    assert lengths.output(choice).decoded == Interval(1, 4)
    assert lengths.tokens(values["k"], values["t"], space=True) == Interval(2, 4)


@pytest.mark.parametrize(("options", "decoded"), [
    ("max_tokens = 3", (1, 3)), ('regex = "[0-9]{2,4}"', (1, 16)), ('regex = "a+", max_tokens = 5', (1, 5)),
    ('choices = ["x", "x"]', (1, 1)),
])
def test_texts(options: str, decoded: tuple[int, int]) -> None:
    module = parsed(f"""%0 = prompt.start() : prompt
        %x, %1 = prompt.generate(%0) {{output = "x", {options}}} : text, prompt
        sem.return(%x) {{names = ["x"]}}""")
    BoundLengths().run(module, TARGET)
    assert next(op.attributes["osl"] for op in walk(module.ops) if op.name == "prompt.generate") == decoded


def test_loops() -> None:
    lengths, values, ops = bounds("""
        %four = flow.const(4) : int
        %empty = flow.const("") : text
        %0 = prompt.start() : prompt
        %range = flow.pure(@range, %four) : list<int>
        %all = flow.for(%range) |%i: int, %e: int| {
          %shown = flow.pure(@render, %e) : text
          flow.yield(%shown)
        } : list<text>
        %last, %chat = flow.fold(%all, %empty, %0) |%j: int, %x: text, %acc: text, %p: prompt| {
          %q = prompt.append(%p, "12") : prompt
          %y, %r = prompt.generate(%q) {output = "y", choices = ["a", "bcd"]} : text, prompt
          %more = flow.pure(@concat, %acc, %y) : text
          flow.yield(%more, %r)
        } : text, prompt
        %end, %h = flow.loop(%n, %empty, %chat) |%s: text, %g: prompt| {
          flow.yield(%c)
        } do |%turn: int, %t: text, %k: prompt| {
          %l = prompt.append(%k, %t) : prompt
          flow.yield(%t, %l)
        } : text, prompt""")
    (fold,), (loop,), (op,) = ops["flow.fold"], ops["flow.loop"], ops["prompt.generate"]
    assert lengths.turns(fold) == Interval(4, 4) and lengths.turns(loop) == Interval(0, None)
    assert lengths.of(values["all"]).count == Interval(4, 4)
    # Each turn adds two bytes and one to three tokens.
    assert lengths.context(values["q"]).tokens == Interval(3, 1 + 3 * 5 + 2)
    assert lengths.context(values["chat"]).tokens == Interval(4, 1 + 4 * 5)
    assert lengths.of(values["last"]).bytes == Interval(1, None)
    assert lengths.of(values["end"]).bytes == Interval(0, 0)
    # Nothing is ever added, so it does not matter how often.
    assert lengths.context(values["h"]).tokens == lengths.context(values["chat"]).tokens
    assert lengths.output(op).decoded == Interval(1, 3)


def test_carried_prompts_that_change_places() -> None:
    """What one prompt grows by, the other has a turn later."""
    lengths, values, _ = bounds("""
        %two = flow.const(2) : int
        %range = flow.pure(@range, %two) : list<int>
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, "1234567890") : prompt
        %p, %q = flow.fold(%range, %0, %1) |%i: int, %e: int, %l: prompt, %r: prompt| {
          %2 = prompt.append(%l, "12345") : prompt
          flow.yield(%r, %2)
        } : prompt, prompt""")
    for name, real in (("p", 6), ("q", 16)):
        found = lengths.context(values[name]).tokens
        assert found.low <= real and (found.high is None or real <= found.high)


def test_without_a_tokenizer_little_is_known() -> None:
    lengths, values, ops = bounds("""
        %0 = prompt.start() : prompt
        %p = prompt.append(%0, "12345") : prompt
        %x, %q = prompt.generate(%p) {output = "x"} : text, prompt""", Target())
    (op,) = ops["prompt.generate"]
    assert lengths.context(values["p"]).tokens == Interval(0, None)
    assert lengths.output(op).decoded == Interval(1, 256)
    assert lengths.of(values["x"]).bytes == Interval(0, None)


TOO_LONG = """
    %0 = prompt.start() : prompt
    %p = prompt.append(%0, "{text}") : prompt
    %q = prompt.append(%p, %a) : prompt
    %m, %r = prompt.generate(%q) {{output = "m"}} : enum<Mood>, prompt
    sem.return(%m) {{names = ["m"]}}"""


def test_a_prompt_that_never_fits() -> None:
    with pytest.raises(InputError) as caught:
        check_contexts(parsed(TOO_LONG.format(text="x" * 98)), TARGET)
    (diagnostic,) = caught.value.diagnostics
    for part in ("test.sir:7:5", "101 tokens", "holds 100"):
        assert part in diagnostic.message
    assert diagnostic.notes == (
        "the prompt has 99 of constants + at least 0 of inserted values + at least 0 of earlier outputs = 99 tokens, "
        "and the output at least 2",)
    # One token less fits; without a context length nothing is said.
    check_contexts(parsed(TOO_LONG.format(text="x" * 97)), TARGET)
    check_contexts(parsed(TOO_LONG.format(text="x" * 98)), Target({"": ModelTarget(Bytes())}))


PAIR = Record(None, (Field("a", TEXT), Field("b", List(INT))))
TYPES = [INT, TEXT, List(INT), List(TEXT), Option(INT), Map(TEXT), PAIR]


@given(st.sampled_from(TYPES), st.randoms(use_true_random=False))
def test_bounds_hold_of_values(type: Type, source: random.Random) -> None:
    """What types and constants say is true of the renderings."""
    value = drawn(type, source)
    text, quoted = render(value, type), json_text(value, type)
    for found in (type_bounds(type), constant_bounds(value, type)):
        assert found.bytes.contains(Interval.exactly(len(text.encode())))
        assert found.json.contains(Interval.exactly(len(quoted.encode())))
    assert json.loads(quoted) is not None or value is None


def drawn(type: Type, source: random.Random) -> object:
    match type:
        case List(element):
            return [drawn(element, source) for _ in range(source.randint(0, 3))]
        case Option(element):
            return None if source.random() < 0.5 else drawn(element, source)
        case Map(element):
            return {drawn(TEXT, source): drawn(element, source) for _ in range(source.randint(0, 3))}
        case Record(_, fields):
            return {f.name: drawn(f.type, source) for f in fields}
        case _ if type == INT:
            return source.choice([0, -1, 7, 10**6, -(2**63)])
        case _:
            return "".join(source.choice('aé"\\\n\x01日') for _ in range(source.randint(0, 5)))
