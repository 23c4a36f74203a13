"""What a model may write, where it ends, samples and probabilities. See docs/language.md, Outputs.

The cases run on a model of bytes that wants to write a given answer after the prompt.
"""

from typing import Any

import pytest

DECLARATIONS = 'enum E { k = "Deep X", kk = "Deep" }\ntype R { a: int?, k: E }\n'


def source(hole: str, type: str, prompt: str = "P:", rest: str = "") -> str:
    return (f'{DECLARATIONS}semantic F() -> y: {type} {{"""{prompt}{{{{output:y {hole}}}}}{rest}"""}}\n'
            f"program Main() -> y: {type} {{ return F() }}\n")


@pytest.mark.parametrize(("options", "answer", "value", "context"), [
    ("", "hello", "hello", "hello"), ("", "", "", ""), ("max_tokens=3", "hello", "hel", "hel"),
    ("max_tokens=2", "hé!", "h", "h"), ("max_tokens=3", "hé!", "hé", "hé"), ("", b"h\xc3", "h", "h"),
    ("", b"h\xff!", "h\ufffd!", "h\ufffd!"), ('stop="l"', "hello", "he", "he"),
    ('stop=["lo", "el"]', "hello", "h", "h"),
    ('stop="é"', "hé!", "h", "h"), ('stop="\\n"', "\nhello", "", ""), ('stop="lo"', "helLo", "helLo", "helLo"),
    ('stop="xy"', "ax", "ax", "ax"), ('stop="aab"', "aaab", "a", "a"),
    ("max_words=2", "one two three", "one two", "one two"),
    ("max_words=2", " one  two\n\nthree", " one  two", " one  two"),
    ("max_words=2", "one two ", "one two ", "one two "),
    ('max_words=1 stop="n"', "one two", "o", "o"), ('max_tokens=5 max_words=2 stop="z"', "one two", "one t", "one t"),
])
def test_where_a_text_ends(sem: Any, options: str, answer: str | bytes, value: str, context: str) -> None:
    sem.script({"P:": answer})
    result = sem.run(source(options, "text"))
    assert result.outputs == {"y": value}
    assert bytes(result.calls[0].context_ids) == context.encode()


@pytest.mark.parametrize(("prompt", "options", "answer", "before", "value", "context"), [
    ("P: ", "", " hello", "P:", "hello", " hello"), ("P: ", "", "hello", "P:", "hello", "hello"),
    ("P: ", "", "  hello", "P:", " hello", "  hello"), ("P:", "", " hello", "P:", " hello", " hello"),
    ("P:  ", "", " x", "P: ", "x", " x"), ("P: ", "", "\n x", "P:", "\n x", "\n x"),
    ("P: ", "max_words=1", " a b", "P:", "a", " a"),
    ("P: ", 'stop=" "', " a b", "P:", "a", " a"), ("P: ", 'choices=["yes", "no"]', " no", "P:", "no", " no"),
    ("P: ", 'choices=["yes", "no"]', "no", "P:", "no", "no"), ("P: ", 'regex="[a-c]+"', " abd", "P:", "ab", " ab"),
])
def test_one_space_before_an_output(sem: Any, prompt: str, options: str, answer: str, before: str, value: str,
                                    context: str) -> None:
    sem.script({before: answer})
    result = sem.run(source(options, "text", prompt))
    assert result.outputs == {"y": value}
    assert bytes(result.calls[0].prompt_ids) == before.encode()
    assert bytes(result.calls[0].context_ids) == context.encode()


def test_a_value_is_tokenized_from_its_text_where_it_is_inserted(sem: Any) -> None:
    """The context keeps what was generated; a hole takes the value."""
    sem.script({"P:": " ab\n", "Q: ab.": "z"})
    result = sem.run('''semantic F() -> (y: text, z: text) {
      """P: {{output:y stop="\\n"}}Q: {{y}}.{{output:z}}"""
    }
    program Main() -> (y: text, z: text) { let r = F()
      return r.y, r.z }''')
    assert result.outputs == {"y": "ab", "z": "z"}
    assert {bytes(call.prompt_ids) for call in result.calls} == {b"P:", b"P: abQ: ab."}


@pytest.mark.parametrize(("type", "answer", "value"), [
    ("int", "42", 42), ("int", "42abc", 42), ("int", "-7", -7), ("int", "007", 0), ("int(0..10)", "5", 5),
    ("int(0..10)", "50", 5), ("int(0..10)", "10", 10), ("int(0..10)", "11", 1), ("int(-3..3)", "-2", -2),
    ("float", "1.5e3", 1500.0), ("float", "1", 1.0), ("float", "-0.5x", -0.5), ("bool", "true", True),
    ("bool", "falsely", False), ("E", "Deep X", "k"), ("E", "Deep", "kk"), ("E", "Deeper", "kk"),
    ("list[text]", '["a","b"]', ["a", "b"]), ("list[text]", "[]", []), ("list[text](max = 1)", '["a","b"]', ["a"]),
    ("list[int]", "[1]]", [1]),
    ("list[text]", '["a\\n\\u00e9\\""]', ['a\né"']),
    ("map[text, int]", '{"b":1,"a":2}', {"b": 1, "a": 2}), ("map[text, int]", "{}", {}),
    ("R", '{"a":null,"k":"Deep"}', {"a": None, "k": "kk"}), ("R", '{"a":3,"k":"Deep X"}!', {"a": 3, "k": "k"}),
    ("int?", "null", None), ("int?", "3", 3), ("text(max_tokens = 3)", "hello", "hel"),
    ("list[text(max_tokens = 3)](max = 1)", '["hello"]', ["hel"]),
])
def test_types_are_decoded_under_their_grammar(sem: Any, type: str, answer: str, value: object) -> None:
    sem.script({"P:": answer})
    result = sem.run(source("", type))
    assert result.outputs == {"y": value} and repr(result.outputs["y"]) == repr(value)


@pytest.mark.parametrize(("type", "options", "value"), [
    ("list[text]", "max_tokens=2", []), ("list[text]", "max_tokens=4", [""]), ("list[text]", "max_tokens=6", ["ab"]),
    ("int", "max_tokens=2", 12), ("bool", "max_tokens=5", None),
])
def test_a_budget_leaves_room_for_the_end(sem: Any, type: str, options: str, value: object) -> None:
    answers = {"list[text]": '["abcdef"]', "int": "1234", "bool": "xxxx"}
    sem.script({"P:": answers[type]})
    result = sem.run(source(options, type))
    assert result.errors == {}
    assert value is None or result.outputs["y"] == value


@pytest.mark.parametrize(("options", "answer", "value"), [
    ('choices=["yes", "no"]', "no", "no"), ('choices=["yes", "yesterday"]', "yesterday", "yesterday"),
    ('choices=["yes", "yesterday"]', "yes", "yes"), ('choices=["yes", "yes"]', "no", "yes"),
    ('choices=["", "b"]', "b", "b"), ('choices=["", "b"]', "", ""), ('choices=["a b", "é😀"]', "é😀", "é😀"),
    ('regex="[a-c]+"', "abcd", "abc"), ('regex="[a-c]{2}"', "abcd", "ab"), ('regex="x|yz"', "yz", "yz"),
    ('regex="[^a]"', "é", "é"), ('regex="\\\\d+"', "12a", "12"),
])
def test_choices_and_patterns(sem: Any, options: str, answer: str, value: str) -> None:
    sem.script({"P:": answer})
    assert sem.run(source(options, "text")).outputs == {"y": value}


def test_choices_from_the_run(sem: Any) -> None:
    sem.script({"P:": "b"})
    result = sem.run('''semantic F(xs: list[text]) -> y: text { """P:{{output:y choices=xs}}""" }
    program Main(xs: list[text] = ["a", "b", "b"]) -> (y: text, z: text, w: text) {
      return F(xs), F(xs[3:]), try F([]) else "nothing to choose from"
    }''')
    assert result.outputs == {"y": "b", "w": "nothing to choose from"}
    assert result.errors["z"].message == "`choices` is empty, so there is nothing to choose from"
    assert result.errors["z"].location.endswith("main.sem:1:46")


@pytest.mark.parametrize(("option", "type", "argument", "message"), [
    ("max_tokens", "int", "0", "`max_tokens` must be a whole number of at least 1, not 0"),
    ("max_words", "int", "-1", "`max_words` must be a whole number of at least 1, not -1"),
    ("temperature", "float", "-1.0", "`temperature` must be at least 0, not -1.0"),
    ("top_p", "float", "1.5", "`top_p` must be above 0 and at most 1, not 1.5"),
    ("top_k", "int", "-1", "`top_k` must be a whole number of at least 0, not -1"),
    ("min_p", "float", "2.0", "`min_p` must be at least 0 and at most 1, not 2.0"),
    ("n", "int", "0", "`n` must be a whole number of at least 1, not 0"),
    ("logprobs", "int", "-1", "`logprobs` must be a whole number of at least 0, not -1"),
    ("stop", "text", '""', "a `stop` text is empty, so nothing could be generated"),
])
def test_wrong_values_of_options_that_are_parameters(sem: Any, option: str, type: str, argument: str,
                                                     message: str) -> None:
    output = "list[text]" if option == "n" else "text"
    result = sem.run(f'semantic F(o: {type}) -> y: {output} {{"""P:{{{{output:y {option}=o}}}}"""}}\n'
                     f"program Main() -> (y: {output}, z: int) {{ return F({argument}), 3 }}")
    assert result.outputs == {"z": 3}
    assert result.errors["y"].message == message


@pytest.mark.parametrize(("hole", "type", "codes"), [
    ("max_tokens=0", "text", ["E0409"]), ("max_words=0", "text", ["E0409"]), ('stop=""', "text", ["E0409"]),
    ("stop=[]", "text", ["E0409"]), ("choices=[]", "text", ["E0409"]), ('regex="("', "text", ["E0409"]),
    ("temperature=-1", "text", ["E0409"]), ("top_p=0", "text", ["E0409"]), ("top_p=1.1", "text", ["E0409"]),
    ("top_k=-1", "text", ["E0409"]), ("min_p=2", "text", ["E0409"]), ("seed=1.5", "text", ["E0409"]),
    ("n=0", "list[text]", ["E0409"]), ("logprobs=-1", "text", ["E0409"]), ("max_tokens=x", "text", ["E0409"]),
    ("max_token=3", "text", ["E0406"]), ('stop="a"', "int", ["E0406"]), ("max_words=3", "int", ["E0406"]),
    ('choices=["a"]', "bool", ["E0406"]), ('regex="a"', "E", ["E0406"]),
    ("max_tokens=3 max_tokens=4", "text", ["E0404"]),
    ('regex="a" choices=["b"]', "text", ["E0409"]), ("max_tokens=len(\"a\")", "text", ["E0409"]),
    ("max_tokens=\"3\"", "text", ["E0409"]), ("n=2", "int", ["E0301"]),
])
def test_wrong_options_are_found_by_checking(sem: Any, hole: str, type: str, codes: list[str]) -> None:
    assert [c for c in sem.codes(source(hole, type)) if c[0] == "E"] == codes


@pytest.mark.parametrize(("option", "message"), [
    ('regex="(?=a)b"', "it uses assert"), ('regex="(a)\\\\1"', "it uses groupref"),
    ('regex="a{99999999}"', "too large"),
])
def test_patterns_that_no_engine_can_keep_are_errors_before_the_run(sem: Any, semc: Any, option: str,
                                                                    message: str) -> None:
    sem.write(source(option, "text"))
    for level in ("-O0", "-O2"):
        semc("run", "main.sem", "--engine", "reference", level, code=2)
        assert "error[E0955]: the output `y` can never be generated" in semc.err and message in semc.err
        assert "--> main.sem:3:31" in semc.err
    semc("compile", "main.sem", "--emit", "prompt", code=2)


@pytest.mark.parametrize(("type", "budget", "least"), [("R", 9, 11), ("list[text]", 1, 2)])
def test_a_budget_below_the_shortest_value_is_an_error_before_the_run(sem: Any, semc: Any, type: str, budget: int,
                                                                      least: int) -> None:
    sem.write(source(f"max_tokens={budget}", type).replace("type R {", "type R { first: text,"))
    for level in ("-O0", "-O2"):
        semc("run", "main.sem", "--engine", "reference", level, code=2)
        assert f"max_tokens is {budget}, but the shortest value has " in semc.err
    sem.write(source(f"max_tokens={budget}", type).replace("return F()", "return F() with max_tokens = 90"))
    semc("run", "main.sem", "--engine", "reference")


# ---- samples ----

SAMPLED = 'semantic F(t: text) -> y: text { """Q {{t}}: {{output:y temperature=1.0 max_tokens=4}}""" }\n'


def streams(result: Any) -> set[tuple[str, tuple[int, ...], int]]:
    return {(call.stream, call.indices, call.sample) for call in result.calls}


def test_streams_are_fixed_by_path_index_and_sample(sem: Any) -> None:
    result = sem.run(SAMPLED + '''
program G(t: text) -> x: text { return F(t) }
program Main() -> (a: list[text], b: list[text], c: list[list[text]], d: list[text], e: text, f: text) {
  return [F("a") for i in range(2)], [F(t) for t in ["a", "b", "a"] if t == "a"],
    [[F("a") for i in range(2)] for j in range(2)], [G("a") for j in range(2)], G("a"),
    fold acc = "" for i in range(2) { acc + F("a") }
}''')
    assert streams(result) == {
        *(("Main/F#0", (i,), 0) for i in (0, 1)), *(("Main/F#1", (i,), 0) for i in (0, 2)),
        *(("Main/F#2", (j, i), 0) for j in (0, 1) for i in (0, 1)), *(("Main/G#3/F#0", (j,), 0) for j in (0, 1)),
        ("Main/G#4/F#0", (), 0), *(("Main/F#5", (i,), 0) for i in (0, 1))}
    values = [*result.outputs["a"], *result.outputs["b"], *result.outputs["d"],
              *(value for row in result.outputs["c"] for value in row)]
    assert len(set(values)) == len(values), "every stream draws for itself"
    assert len(sem.results[2].calls) == len(result.calls), "sampled calls are never merged"


def test_a_filter_does_not_shift_the_streams(sem: Any) -> None:
    program = SAMPLED + 'program Main() -> x: list[text] { return [F(t) for t in ["a", "b", "a"] if true] }'
    everything = sem.run(program, seed=5).outputs["x"]
    assert sem.run(program.replace("true", 't == "a"'), seed=5).outputs["x"] == [everything[0], everything[2]]


def test_seeds(sem: Any) -> None:
    one = SAMPLED + 'program Main() -> x: text { return F("a") }'
    own = SAMPLED.replace("1.0", "1.0 seed=7") + 'program Main() -> x: text { return F("a") }'
    called = SAMPLED + 'program Main() -> x: text { return F("a") with seed = 7 }'
    values = [sem.run(one, seed=seed).outputs["x"] for seed in (1, 2, 1, 7)]
    assert values[0] == values[2] != values[1]
    assert {sem.run(text, seed=seed).outputs["x"] for text in (own, called) for seed in (1, 2)} == {values[3]}


@pytest.mark.parametrize("zero", ["0", "0.0"])
def test_temperature_zero_is_greedy(sem: Any, zero: str) -> None:
    result = sem.run(SAMPLED + f"""program Main(k: float = {zero}) -> (x: text, y: text, z: text) {{
      return F("a") with temperature = {zero}, F("a") with temperature = k, F("a") with top_k = 1
    }}""", seed=3)
    assert len(set(result.outputs.values())) == 1


def test_equal_greedy_calls_are_merged_only_by_optimization(sem: Any) -> None:
    result = sem.run(SAMPLED.replace("temperature=1.0 ", "") + '''program Main() -> (x: text, y: text, z: text) {
      return F("a"), F("a"), F("a" + "") }''')
    assert len(set(result.outputs.values())) == 1
    assert (len(result.calls), len(sem.results[2].calls)) == (3, 1)


def test_values_that_render_differently_are_not_merged(sem: Any) -> None:
    result = sem.run('''semantic F(t: float) -> y: text { """Q {{t}}: {{output:y max_tokens=3}}""" }
    program Main(a: float = 0.0) -> (x: text, y: text) { return F(a), F(-a) }''')
    assert len(sem.results[2].calls) == 2 and len(result.calls) == 2
    assert sem.prompts(result)[0] != sem.prompts(result)[1]


def test_several_samples(sem: Any) -> None:
    result = sem.run('''semantic F(t: text, k: int) -> (why: text, y: list[text]) {
      """Q {{t}}: {{output:why max_tokens=2 stop="."}} so {{output:y n=k temperature=1.0 max_tokens=3}} never"""
    }
    semantic G(t: text) -> y: list[int(0..9)] { """Q {{t}}: {{output:y n=3}}""" }
    program Main(k: int = 3) -> (x: list[text], z: list[int]) { return F("a", k).y, G("b") }''')
    assert len(result.outputs["x"]) == 3 == len(set(result.outputs["x"]))
    assert len(set(result.outputs["z"])) == 1, "greedy samples are equal"
    assert {(c.output, c.sample) for c in result.calls} >= {("why", 0), ("y", 0), ("y", 1), ("y", 2)}
    assert len({c.prompt_ids for c in result.calls if c.sample > 0 and c.indices == () and c.stream}) == 1


def test_log_probabilities(sem: Any) -> None:
    result = sem.run('''semantic F(t: text) -> (y: text, z: text) {
      """Q {{t}}: {{output:y logprobs=2 max_tokens=3 stop="\\n"}} {{output:z max_tokens=2}}"""
    }
    semantic H(t: text) -> y: text { """Q {{t}}: {{output:y choices=["yes", "no"] logprobs=0}}""" }
    program Main() -> (y: text, tokens: list[text], tops: list[int], best: bool, none_asked: int) {
      let r = F("a")
      let (y, z) = F("a")
      let p = r.y.logprobs
      return r.y, [t.token for t in y.logprobs], [len(t.top) for t in p],
        sum([t.logprob for t in p]) <= 0.0, sum([len(t.top) for t in H("b").logprobs])
    }''')
    assert result.errors == {}
    assert "".join(result.outputs["tokens"]).strip() == result.outputs["y"]
    assert set(result.outputs["tops"]) == {2} and result.outputs["best"] is True and result.outputs["none_asked"] == 0
