"""Generates: options, random streams, samples, typed values, contexts, and what reaches the engine."""

from typing import Any

import pytest
from semlang.backend.engine import EngineError
from semlang.backend.random_stream import stream_key

ONE = '''
sem.program(@Main) |%a: text| {
  %0 = engine.fill(engine.root, "Say ", %a) : ctx
  %y, %1 = engine.generate(%0) {ATTRIBUTES} : TYPE, ctx
  engine.free(%0, %1)
  sem.return(%y) {names = ["y"]}
}'''


def one(attributes: str = "", type: str = "text") -> str:
    return ONE.replace("ATTRIBUTES", f'output = "y"{attributes}').replace("TYPE", type)


def test_an_output_is_what_the_engine_gave(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: f"<{prompt}>")
    result = execute(one(), {"a": "hi"}, engine=engine)
    assert result.outputs == {"y": "<Say hi>"}
    assert result.stats.calls == 1


@pytest.mark.parametrize(("type", "text", "value"), [
    ("int", "12", 12), ("bool", "true", True), ("float", "1.5", 1.5), ("list<int>", "[1,2]", [1, 2]),
    ("record<a: text, b: int>", '{"a":"x","b":1}', {"a": "x", "b": 1}), ("map<int>", '{"k":1}', {"k": 1}),
])
def test_typed_outputs_are_parsed(execute: Any, scripted: Any, type: str, text: str, value: Any) -> None:
    engine = scripted(lambda prompt, sampling: text)
    assert execute(one(type=type), {"a": ""}, engine=engine).outputs == {"y": value}
    assert str(engine.samplings[0].type) == type


def test_enums_are_parsed_from_their_text(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "deep green")
    declaration = 'sem.enum(@Color) {members = ["red", "green"], texts = ["red", "deep green"]}\n'
    assert execute(declaration + one(type="enum<Color>"), {"a": ""}, engine=engine).outputs == {"y": "green"}


def test_an_output_that_does_not_parse_fails_the_call(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    error = execute(one(type="int"), {"a": ""}, engine=engine).errors["y"]
    assert error.kind == "engine" and "does not parse" in error.message


def test_an_engine_failure_fails_its_call_only(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: EngineError("context overflow") if "bad" in prompt else prompt)
    result = execute('''
    sem.program(@Main) |%xs: list<text>| {
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %0 = engine.fill(engine.root, %x) : ctx
        %y, %1 = engine.generate(%0) {output = "y"} : text, ctx loc("x.sem":5:9)
        %2 = engine.fill(%1, "more") : ctx
        %z, %3 = engine.generate(%2) {output = "z"} : text, ctx
        engine.free(%0, %1, %2, %3)
        flow.yield(%z)
      } : list<text>
      %i0 = flow.const(0) : int
      %i1 = flow.const(1) : int
      %first = flow.pure(@index, %ys, %i0) : option<text>
      %second = flow.pure(@index, %ys, %i1) : option<text>
      sem.return(%first, %second) {names = ["first", "second"]}
    }''', {"xs": ["good", "bad"]}, engine=engine)
    assert result.outputs == {"first": "goodgoodmore"}
    assert result.errors["second"].message == "context overflow"
    assert result.errors["second"].location == "x.sem:5:9"


def test_a_failed_piece_fails_the_fill_and_its_generate_without_a_call(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: prompt)
    result = execute('''
    sem.program(@Main) |%n: int| {
      %zero = flow.const(0) : int
      %q = flow.pure(@floordiv, %n, %zero) : int
      %t = flow.pure(@render, %q) : text
      %0 = engine.fill(engine.root, "Say ", %t) : ctx
      %y, %1 = engine.generate(%0) {output = "y"} : text, ctx
      engine.free(%0, %1)
      sem.return(%y) {names = ["y"]}
    }''', {"n": 1}, engine=engine)
    assert result.errors["y"].message == "division by zero" and engine.prompts == []


def test_attributes_reach_the_engine(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    execute(one(', max_tokens = 7, max_words = 3, temperature = 0.5, top_p = 0.9, top_k = 4, min_p = 0.1, '
                'stop = ["a", "b"], regex = "x+", logprobs = 2, strip_space = true', "text").replace(
        ": text, ctx", ": text, ctx, list<record<token: text, logprob: float, top: map<float>>>").replace(
        "%y, %1 =", "%y, %1, %l =").replace("engine.free(%0, %1)", "engine.free(%0, %1)"), {"a": ""}, engine=engine)
    s = engine.samplings[0]
    assert (s.max_tokens, s.max_words, s.temperature, s.top_p, s.top_k, s.min_p) == (7, 3, 0.5, 0.9, 4, 0.1)
    assert (s.stop, s.regex, s.logprobs, s.strip_leading_space) == (("a", "b"), "x+", 2, True)


@pytest.mark.parametrize(("attributes", "type", "budget"), [
    ("", "text", 256), ("", "text<max_tokens = 8>", 8), (", max_tokens = 5", "text<max_tokens = 8>", 5),
    (", max_tokens = 50", "text<max_tokens = 8>", 8), (", max_tokens = 50", "int", 50),
])
def test_the_budget_respects_the_type(execute: Any, scripted: Any, attributes: str, type: str, budget: int) -> None:
    engine = scripted(lambda prompt, sampling: "1")
    execute(one(attributes, type), {"a": ""}, engine=engine)
    assert engine.samplings[0].max_tokens == budget


OPTION = '''
sem.program(@Main) |%a: text, %o: TYPE| {
  %0 = engine.fill(engine.root, "Say ", %a) : ctx
  %y, %1 = engine.generate(%0, %o) {output = "y", options = ["NAME"]} : text, ctx
  engine.free(%0, %1)
  sem.return(%y) {names = ["y"]}
}'''


@pytest.mark.parametrize(("name", "type", "value", "field", "expected"), [
    ("temperature", "float", 0.0, "stream_key", None),
    ("choices", "list<text>", ["a", "b", "a"], "choices", ("a", "b")),
    ("stop", "list<text>", ["x"], "stop", ("x",)), ("stop", "text", "x", "stop", ("x",)),
    ("max_tokens", "int", 9, "max_tokens", 9), ("top_k", "option<int>", None, "top_k", 0),
])
def test_options_may_be_operands(execute: Any, scripted: Any, name: str, type: str, value: Any, field: str,
                                 expected: Any) -> None:
    engine = scripted(lambda prompt, sampling: "a")
    text = OPTION.replace("TYPE", type).replace("NAME", name)
    result = execute(text, {"a": "", "o": value}, engine=engine, check=False)
    assert result.ok and getattr(engine.samplings[0], field) == expected


@pytest.mark.parametrize(("name", "type", "value"), [
    ("temperature", "float", -0.5), ("max_tokens", "int", 0), ("choices", "list<text>", []), ("top_p", "float", 0.0),
    ("top_p", "float", 1.5), ("top_k", "int", -1), ("min_p", "float", 2.0), ("stop", "list<text>", [""]),
    ("n", "int", 0), ("logprobs", "int", -1), ("max_words", "int", 0),
])
def test_wrong_operands_of_options_fail_the_call(execute: Any, scripted: Any, name: str, type: str, value: Any) -> None:
    engine = scripted(lambda prompt, sampling: "a")
    text = OPTION.replace("TYPE", type).replace("NAME", name)
    result = execute(text, {"a": "", "o": value}, engine=engine, check=False)
    assert result.errors["y"].kind == "option" and f"`{name}`" in result.errors["y"].message
    assert engine.prompts == []


def test_a_failed_option_fails_the_call(execute: Any, scripted: Any) -> None:
    result = execute('''
    sem.program(@Main) |%n: int| {
      %zero = flow.const(0) : int
      %q = flow.pure(@floordiv, %n, %zero) : int
      %0 = engine.fill(engine.root, "Say") : ctx
      %y, %1 = engine.generate(%0, %q) {output = "y", options = ["max_tokens"]} : text, ctx
      engine.free(%0, %1)
      sem.return(%y) {names = ["y"]}
    }''', {"n": 1}, engine=scripted(lambda prompt, sampling: "a"))
    assert result.errors["y"].message == "division by zero"


# ---- random streams ----

SAMPLED = '''
sem.program(@Main) |%xs: list<text>| {
  %yss = flow.for(%xs) |%i: int, %x: text| {
    %ys = flow.for(%xs) |%j: int, %x2: text| {
      %0 = engine.fill(engine.root, "Say") : ctx
      %y, %1 = engine.generate(%0, %i, %j) {
        output = "y", temperature = 1.0, indices = 2, stream = "Main/F#1", n = 2} : list<text>, ctx
      engine.free(%0, %1)
      flow.yield(%y)
    } : list<list<text>>
    flow.yield(%ys)
  } : list<list<list<text>>>
  sem.return(%yss) {names = ["yss"]}
}'''


def test_stream_keys_are_made_of_seed_stream_indices_output_and_sample(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    execute(SAMPLED, {"xs": ["a", "b"]}, engine=engine, seed=5)
    keys = [stream_key(5, "Main/F#1", (i, j), "y", sample) for i in (0, 1) for j in (0, 1) for sample in (0, 1)]
    assert sorted(s.stream_key for s in engine.samplings) == sorted(keys)
    assert len(set(keys)) == 8


def test_an_own_seed_replaces_that_of_the_run(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    execute(one(', temperature = 1.0, seed = 3, stream = "S"'), {"a": ""}, engine=engine, seed=5)
    assert engine.samplings[0].stream_key == stream_key(3, "S", (), "y", 0)


def test_sampled_outputs_are_reproducible_and_differ_by_index_sample_and_seed(execute: Any) -> None:
    first = execute(SAMPLED, {"xs": ["a", "b"]}, seed=1).outputs["yss"]
    texts = [text for ys in first for samples in ys for text in samples]
    assert len(set(texts)) == 8
    assert execute(SAMPLED, {"xs": ["a", "b"]}, seed=1).outputs["yss"] == first
    assert execute(SAMPLED, {"xs": ["a", "b"]}, seed=2).outputs["yss"] != first


# ---- samples, log-probabilities ----

SAMPLES = '''
sem.program(@Main) |%a: text, %n: int| {
  %0 = engine.fill(engine.root, %a) : ctx
  %ys, %1 = engine.generate(%0, %n) {output = "y", temperature = 1.0, options = ["n"]} : list<text>, ctx
  %2 = engine.fill(%1, " after") : ctx
  %z, %3 = engine.generate(%2) {output = "z"} : text, ctx
  engine.free(%0, %1, %2, %3)
  sem.return(%ys, %z) {names = ["ys", "z"]}
}'''


def test_samples_are_elements_and_the_context_is_the_one_before(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: prompt)
    result = execute(SAMPLES, {"a": "p", "n": 3}, engine=engine)
    assert result.outputs == {"ys": ["p", "p", "p"], "z": "p after"}


def test_a_failed_sample_is_a_failed_element(execute: Any, scripted: Any) -> None:
    count = iter(range(10))
    engine = scripted(lambda prompt, sampling: EngineError("no") if next(count) == 1 else "ok")
    result = execute(SAMPLES.replace("sem.return(%ys, %z)", '''
      %i = flow.const(0) : int
      %j = flow.const(2) : int
      %first = flow.pure(@index, %ys, %i) : option<text>
      %last = flow.pure(@index, %ys, %j) : option<text>
      %len = flow.pure(@len, %ys) : int
      sem.return(%ys, %first, %last, %len)''').replace('names = ["ys", "z"]', 'names = ["ys", "first", "last", "len"]'),
        {"a": "p", "n": 3}, engine=engine)
    assert result.outputs == {"first": "ok", "last": "ok", "len": 3}
    assert result.errors["ys"].message == "no"


def test_logprobs_are_a_third_result(execute: Any) -> None:
    result = execute('''
    sem.program(@Main) |%a: text| {
      %0 = engine.fill(engine.root, %a) : ctx
      %y, %1, %l = engine.generate(%0) {output = "y", logprobs = 2, max_tokens = 4} : text, ctx,
        list<record<token: text, logprob: float, top: list<record<token: text, logprob: float>>>>
      engine.free(%0, %1)
      sem.return(%y, %l) {names = ["y", "l"]}
    }''', {"a": "hello there"})
    tokens = result.outputs["l"]
    assert 1 <= len(tokens) <= 4 and all(t["logprob"] <= 0 and len(t["top"]) == 2 for t in tokens)
    assert all(t["top"][0]["logprob"] >= t["top"][1]["logprob"] for t in tokens)


# ---- pieces ----


def test_spaced_pieces_get_one_space(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    execute('''
    sem.program(@Main) |%a: text| {
      %0 = engine.fill(engine.root, "A", %a, "B", %a) {spaced = [1, 3]} : ctx
      %y, %1 = engine.generate(%0) {output = "y"} : text, ctx
      engine.free(%0, %1)
      sem.return(%y) {names = ["y"]}
    }''', {"a": "v"}, engine=engine)
    assert engine.prompts == ["A vB v"]


def test_only_the_first_piece_of_a_prompt_is_first_even_if_it_is_empty(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    engine.tokenizer.has_dummy_prefix = True
    execute('''
    sem.program(@Main) |%a: text, %c: bool| {
      %start = engine.fill(engine.root) : ctx
      %p = flow.if(%c) {
        flow.yield(%start)
      } else {
        %q = engine.fill(%start, "") : ctx
        flow.yield(%q)
      } : ctx
      %0 = engine.fill(%p, %a, "-", %a) : ctx
      %y, %1 = engine.generate(%0) {output = "y"} : text, ctx
      engine.free(%start, %p, %0, %1)
      sem.return(%y) {names = ["y"]}
    }''', {"a": "v", "c": True}, engine=engine)
    assert engine.prompts == ["^v-v"]


def test_an_empty_first_piece_still_was_the_first(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    engine.tokenizer.has_dummy_prefix = True
    engine.tokenizer.encode_piece = lambda text, first: list((("^" if first else "") + text).encode()) if text else []
    execute('''
    sem.program(@Main) |%a: text| {
      %0 = engine.fill(engine.root, "", %a) : ctx
      %y, %1 = engine.generate(%0) {output = "y"} : text, ctx
      engine.free(%0, %1)
      sem.return(%y) {names = ["y"]}
    }''', {"a": "v"}, engine=engine)
    assert engine.prompts == ["v"]


def test_role_pieces_know_the_roles_before_them(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    execute('''
    sem.program(@Main) |%xs: list<text>| {
      %start = engine.fill(
        engine.root, scaffold<8 : "<system>" : [60, 115, 121, 115, 116, 101, 109, 62]>) {roles = [system]} : ctx
      %p = flow.fold(%xs, %start) |%i: int, %x: text, %c: ctx| {
        %1 = engine.fill(%c, role(user), %x, role(assistant)) : ctx
        %y, %2 = engine.generate(%1) {output = "y"} : text, ctx
        engine.free(%c, %1)
        flow.yield(%2)
      } : ctx
      %3 = engine.fill(%p, role(user)) : ctx
      %z, %4 = engine.generate(%3) {output = "z"} : text, ctx
      engine.free(%start, %p, %3, %4)
      sem.return(%z) {names = ["z"]}
    }''', {"xs": ["a"]}, engine=engine)
    assert engine.prompts[-1] == "<system><system/user>a<system/user/assistant>x<system/user/assistant/user>"


# ---- engines ----


def test_models_are_found_by_alias_and_stats_are_summed(execute: Any, scripted: Any) -> None:
    default, small = scripted(lambda p, s: "default"), scripted(lambda p, s: "small")
    result = execute('''
    sem.program(@Main) |%a: text| {
      %0 = engine.fill(engine.root, %a) {model = "small"} : ctx
      %y, %1 = engine.generate(%0) {output = "y"} : text, ctx
      %2 = engine.fill(engine.root, %a) : ctx
      %z, %3 = engine.generate(%2) {output = "z"} : text, ctx
      %4 = engine.fill(engine.root, %a) {model = "unbound"} : ctx
      %w, %5 = engine.generate(%4) {output = "w"} : text, ctx
      engine.free(%0, %1, %2, %3, %4, %5)
      sem.return(%y, %z, %w) {names = ["y", "z", "w"]}
    }''', {"a": "p"}, engines={"": default, "small": small})
    assert result.outputs == {"y": "small", "z": "default", "w": "default"}
    assert result.stats.generated_tokens == len("small" + 2 * "default") and result.stats.calls == 3


def test_recorded_calls_hold_the_tokens(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "x")
    result = execute('''
    sem.program(@Main) |%a: text| {
      %0 = engine.fill(engine.root, "A", %a) : ctx
      %y, %1 = engine.generate(%0) {output = "y", stream = "Main/F#1", temperature = 1.0} : text, ctx loc("x.sem":4:2)
      %2 = engine.fill(%1, "B") : ctx
      %z, %3 = engine.generate(%2) {output = "z"} : text, ctx
      engine.free(%0, %1, %2, %3)
      sem.return(%z) {names = ["z"]}
    }''', {"a": "v"}, engine=engine, record_calls=True)
    first, second = result.calls
    assert (first.site, first.output, first.stream, first.sample) == ("x.sem:4:2", "y", "Main/F#1", 0)
    assert bytes(first.prompt_ids) == b"Av" and bytes(second.prompt_ids) == b"AvxB"
    assert bytes(second.output_ids) == b"x" == bytes(second.context_ids)


def test_released_text_is_told(execute: Any, scripted: Any) -> None:
    engine = scripted(lambda prompt, sampling: "abc")
    events: list[Any] = []
    execute(one(), {"a": ""}, engine=engine, on_event=events.append)
    assert [type(e).__name__ for e in events] == ["CallStarted", "TextReleased", "CallEnded", "OutputReady"]
    assert (events[1].output, events[1].text) == ("y", "abc") and events[3].value == "abc"
