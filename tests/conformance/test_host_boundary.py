"""What crosses between programs and Python, in both directions. See docs/language.md, What crosses."""

import json
from typing import Any

import pytest

DECLARATIONS = 'enum E { a = "Deep A", b }\ntype R { k: int, o: text?, e: E }\n'
HOSTS = '''
import collections, dataclasses, enum

@dataclasses.dataclass
class D:
    k: int
    o: object
    e: str

Tuple = collections.namedtuple("Tuple", "k o e")

class Name(enum.Enum):
    A = "Deep A"

class Shouting(str):
    pass

async def later(x): return x
'''
RECORD = {"k": 1, "o": None, "e": "b"}
ACCEPTED = [
    ("int", "3", 3), ("int", "-2**63", -(2**63)), ("float", "3", 3.0), ("float", "2.5", 2.5),
    ("float", "2**63", 2.0**63),
    ("bool", "True", True), ("text", "'a'", "a"), ("text", "''", ""), ("text", "Shouting('a')", "a"),
    ("text", "'\\x00'", "\0"),
    ("E", "'Deep A'", "a"), ("E", "'a'", "a"), ("list[int]", "(1, 2)", [1, 2]), ("list[float]", "[1]", [1.0]),
    ("list[list[int]]", "[(1,), []]", [[1], []]), ("map[text, int]", "{'b': 1, 'a': 2}", {"b": 1, "a": 2}),
    ("map[text, int]", "collections.OrderedDict(b=1)", {"b": 1}), ("R", "dict(k=1, o=None, e='b')", RECORD),
    ("R", "dict(e='b', k=1)", RECORD), ("R", "D(1, None, 'b')", RECORD), ("int?", "None", None), ("int?", "3", 3),
    ("int", "later(5)", 5), ("list[R]", "[D(1, None, 'b')]", [RECORD]), ("int(0..5)", "5", 5),
]
REJECTED = [
    ("int", "True", "expected an int, found the bool True"), ("int", "3.0", "expected an int, found the float 3.0"),
    ("int", "2**63", "9223372036854775808 is beyond 64 bits"), ("int", "'3'", "expected an int, found the text '3'"),
    ("int", "None", "expected an int, found none"), ("float", "True", "expected a float, found the bool True"),
    ("float", "float('nan')", "a float must be finite"), ("float", "float('inf')", "a float must be finite"),
    ("float", "10**400", "a float must be finite"), ("bool", "1", "expected true or false, found the int 1"),
    ("text", "b'a'", "expected a text, found a bytes"), ("text", r"'\ud800'", "the text holds a lone surrogate"),
    ("text", "3", "expected a text, found the int 3"), ("text", "None", "expected a text, found none"),
    ("E", "'c'", "expected one of Deep A, b, found the text 'c'"), ("text", "Name.A", "expected a text, found a Name"),
    ("list[int]", "[1, True]", "[1]: expected an int, found the bool True"),
    ("list[int]", "{1}", "expected a list, found a set"),
    ("list[text]", "'ab'", "expected a list, found the text 'ab'"),
    ("list[int]", "range(3)", "expected a list, found a range"),
    ("map[text, int]", "{1: 1}", "key: expected a text, found the int 1"),
    ("map[text, int]", r"{'\ud800': 1}", "key: the text holds a lone surrogate"),
    ("R", "dict(o='x', e='b')", "the field k of the record R is missing"),
    ("R", "dict(k=1, e='b', z=1)", "the record R has no field 'z', only k, o, e"),
    ("R", "Tuple(1, None, 'b')", "expected the record R, found a Tuple"),
    ("list[R]", "[dict(k='x', e='b')]", "[0].k: expected an int, found the text 'x'"),
    ("int(0..5)", "6", "6 is not within 0..5"),
]


@pytest.mark.parametrize(("type", "code", "value"), ACCEPTED)
def test_accepted_results(sem: Any, type: str, code: str, value: object) -> None:
    result = sem.run(f'{DECLARATIONS}host f() -> {type} from "conformance_hosts:f"\n'
                     f"program Main() -> x: {type} {{ return f() }}", hosts=f"{HOSTS}\ndef f(): return {code}")
    assert result.errors == {} and repr(result.outputs["x"]) == repr(value)


@pytest.mark.parametrize(("type", "code", "message"), REJECTED)
def test_rejected_results(sem: Any, type: str, code: str, message: str) -> None:
    result = sem.run(f'{DECLARATIONS}host f() -> {type} from "conformance_hosts:f"\n'
                     f"program Main() -> (x: {type}, y: int) {{ return f(), 1 }}",
                     hosts=f"{HOSTS}\ndef f(): return {code}")
    assert result.outputs == {"y": 1}
    assert result.errors["x"].message == f"the host function `f` gave a wrong value: {message}"
    assert "main.sem:4:" in result.errors["x"].location


@pytest.mark.parametrize(("type", "argument", "value"), [
    ("text", "a = b", "a = b"), ("text", "", ""), ("text", '"q"', '"q"'), ("text?", "null", "null"), ("int", "-3", -3),
    ("float", "2", 2.0), ("float", "1e3", 1000.0), ("bool", "false", False), ("E", "Deep A", "Deep A"), ("E", "b", "b"),
    ("E", '"b"', "b"), ("E", "a", "Deep A"), ("list[int]", "[1, 2]", [1, 2]), ("int?", "null", None), ("int?", "7", 7),
    ("map[text, int]", '{"b": 1, "a": 2}', {"a": 2, "b": 1}),
    ("R", '{"k": 1, "e": "Deep A"}', {**RECORD, "e": "Deep A"}),
    ("int(0..5)", "5", 5),
])
def test_accepted_arguments(sem: Any, semc: Any, type: str, argument: str, value: object) -> None:
    """On the command line and, where it is not text, in a file of arguments."""
    sem.write(f"{DECLARATIONS}program Main(x: {type}) -> x_out: {type} {{ return x }}")
    assert semc.json("main.sem", "--arg", f"x={argument}")["outputs"] == {"x_out": value}
    (sem.folder / "value").write_text(argument)
    assert semc.json("main.sem", "--arg", "x=@value")["outputs"] == {"x_out": value}
    (sem.folder / "args.json").write_text(json.dumps({"x": value}))
    assert semc.json("main.sem", "--args", "args.json")["outputs"] == {"x_out": value}


@pytest.mark.parametrize(("type", "argument", "words"), [
    ("int", "true", "expected an int, found the bool True"), ("int", "1.0", "found the float 1.0"),
    ("int", "x", "as JSON"),
    ("int", "9223372036854775808", "beyond 64 bits"), ("float", "NaN", "NaN is not a value"),
    ("float", "1e999", "must be finite"),
    ("bool", "True", "as JSON"), ("bool", "1", "found the int 1"), ("E", "c", "expected one of Deep A, b"),
    ("list[int]", "[1,", "as JSON"),
    ("list[int]", "[1, null]", "[1]: expected an int, found none"),
    ("R", '{"k": 1, "e": "b", "z": 1}', "has no field 'z'"),
    ("R", '{"e": "b"}', "the field k of the record R is missing"), ("int(0..5)", "6", "not within"),
    ("list[int](max = 1)", "[1, 2]", "at most 1"), ("map[text, text]", r'{"a": "\ud800"}', "lone surrogate"),
    ("int", "", "as JSON"),
])
def test_rejected_arguments_end_with_2(sem: Any, semc: Any, type: str, argument: str, words: str) -> None:
    sem.write(f"{DECLARATIONS}program Main(x: {type}) -> y: int {{ return 1 }}")
    semc("run", "main.sem", "--engine", "reference", "--arg", f"x={argument}", code=2)
    assert "the argument `x` is wrong" in semc.err and words in semc.err and semc.out == ""


def test_values_cross_by_deep_copy(sem: Any) -> None:
    result = sem.run(DECLARATIONS + '''
host change(x: list[text], e: E, r: R, m: map[text, E], o: int?, b: bool, f: float) -> list[text]
  from "conformance_hosts:change"
host keep() -> list[text] from "conformance_hosts:keep"
program Main() -> (xs: list[text], r: R, m: map[text, E], ys: list[text], first: list[text], second: list[text]) {
  let xs = ["1"]
  let r = R(k = 1, o = none, e = a)
  let m = ["k": E.a]
  let ys = change(xs, a, r, m, none, true, 2)
  let first = keep()
  let second = keep()
  return xs, r, m, ys, first, second
}''', hosts='''
kept = []

def change(x, e, r, m, o, b, f):
    log.append((list(x), e, dict(r), dict(m), o, b, f))
    r["k"] = 99
    x.append("more")
    m["z"] = 1
    return x

def keep():
    kept.append("n")
    return kept
''')
    assert result.outputs == {"xs": ["1"], "r": {"k": 1, "o": None, "e": "a"}, "m": {"k": "a"}, "ys": ["1", "more"],
                              "first": ["n"], "second": ["n", "n"]}
    assert sem.log == [(["1"], "Deep A", {"k": 1, "o": None, "e": "Deep A"}, {"k": "Deep A"}, None, True, 2.0)]
    assert isinstance(sem.log[0][6], float)


@pytest.mark.parametrize(("code", "message"), [
    ("def f(x): raise SystemExit(3)", "the host function `f` raised SystemExit: 3"),
    ("def f(x): raise KeyboardInterrupt", "the host function `f` raised KeyboardInterrupt"),
    ("def f(x): raise ValueError", "the host function `f` raised ValueError"),
    ("def f(x): return f(x)", "the host function `f` raised RecursionError: maximum recursion depth exceeded"),
    ("def f(): return 'a'", "the host function `f` raised TypeError: f() takes 0 positional arguments but 1 was given"),
    ("def f(x): yield x", "the host function `f` gave a wrong value: expected a text, found a generator"),
    ("f = 3", "`f` in the module `conformance_hosts` (built in) is not a function"),
    ("g = 3", "the module `conformance_hosts` (built in) has no function `f`"),
    ("async def f(x): raise OSError('gone')", "the host function `f` raised OSError: gone"),
])
def test_failing_functions(sem: Any, code: str, message: str) -> None:
    result = sem.run('host f(x: text) -> text from "conformance_hosts:f"\n'
                     'program Main() -> (x: text, y: int) { return f("a"), 1 }', hosts=code)
    assert result.outputs == {"y": 1} and result.errors["x"].message == message
    assert result.errors["x"].location.endswith("main.sem:2:46")


@pytest.mark.parametrize(("code", "words"), [
    ("import no_such_thing_at_all", "No module named 'no_such_thing_at_all'"), ("def f(:", "SyntaxError"),
    ("raise SystemExit(1)", "SystemExit"), (None, "cannot import the module `own_module` (looked in "),
])
def test_modules_that_cannot_be_imported(sem: Any, code: str | None, words: str) -> None:
    if code is not None:
        sem.write(code, "own_module.py")
    result = sem.run('host f(x: text) -> text from "own_module:f"\n'
                     'program Main() -> (x: text, y: int) { return f("a"), 1 }')
    assert result.outputs == {"y": 1} and words in result.errors["x"].message


@pytest.mark.parametrize(("target", "value"), [
    ("Made.method", "m a"), ("made", "call a"), ("default", "a!"), ("only", "a"),
])
def test_callables(sem: Any, target: str, value: str) -> None:
    result = sem.run(f'host f(x: text) -> text from "conformance_hosts:{target}"\n'
                     'program Main() -> x: text { return f("a") }', hosts='''
class Made:
    @staticmethod
    def method(x): return "m " + x
    def __call__(self, x): return "call " + x

made = Made()
def default(x, y="!"): return x + y
def only(x, /): return x
''')
    assert result.errors == {} and result.outputs == {"x": value}
