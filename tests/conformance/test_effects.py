"""Host functions with and without effects: how often they run, in which order, retries and timeouts.

See docs/language.md, Host functions and effects. `log` lists every call; `!x` is one that raised.
"""

from typing import Any

import pytest
from semlang.backend.executor import run_module

HOSTS = '''
import time
attempts = {}

def note(x): log.append(x); return len(log)
def say(x): log.append(x)
def bad(x): log.append("!" + x); raise ValueError("no " + x)
def up(x): log.append("up " + x); return x.upper()
def pure_bad(x): log.append("!" + x); raise RuntimeError("no " + x)
def flag(x): log.append("flag " + x); return x == "yes"
def slow(x): time.sleep(0.05); log.append(x); return x

def third_time(x):
    attempts[x] = attempts.get(x, 0) + 1
    log.append(f"{x} {attempts[x]}")
    if attempts[x] < 3:
        raise OSError("not yet")
    return x
'''
DECLARATIONS = "\n".join(f'host {head} from "conformance_hosts:{target}" {options}' for head, target, options in [
    ("note(x: text) -> int", "note", ""), ("say(x: text)", "say", ""), ("bad(x: text) -> int", "bad", ""),
    ("up(x: text) -> text", "up", "(pure)"), ("pure_bad(x: text) -> text", "pure_bad", "(pure)"),
    ("flag(x: text) -> bool", "flag", ""), ("slow(x: text) -> text", "slow", ""),
    ("patient(x: text) -> text", "third_time", "(pure, retries = 2)"),
    ("impatient(x: text) -> text", "third_time", "(idempotent, retries = 1)"),
    ("short(x: text) -> text", "slow", "(pure, timeout = 10ms)"),
]) + '\nsemantic F(t: text) -> y: text { """Q {{t}}: {{output:y max_tokens=3}}""" }\n'


def run(sem: Any, body: str, type: str = "int", more: str = "") -> Any:
    return sem.run(f"{DECLARATIONS}{more}\nprogram Main(o: int? = none, three: int? = 3) -> x: {type} {{\n{body}\n}}",
                   hosts=HOSTS, program="Main")


@pytest.mark.parametrize(("body", "log"), [
    ('let a = note("1")\nlet b = note("2")\nreturn b * 10 + a', ["1", "2"]),
    ('return note("a") + note("b") * note("c")', ["a", "b", "c"]),
    ('say("x")\nnote("y")\nsay("z")\nreturn 1', ["x", "y", "z"]),
    ('let b = for x in ["a", "b"] { for y in ["1", "2"] { note(x + y) } }\nlet c = note("z")\nreturn c',
     ["a1", "a2", "b1", "b2", "z"]),
    ('let c = [note(x) for x in ["a", "b"]]\nreturn 1', ["a", "b"]), ("return 1", []),
    ('return if flag("no") { note("then") } else { note("else") }', ["flag no", "else"]),
    ('return if flag("no") and flag("yes") { 1 } else { note("else") }', ["flag no", "else"]),
    ('return if flag("yes") or flag("yes") { 1 } else { note("else") }', ["flag yes"]),
    ('return if not flag("no") { note("a") } else { note("b") }', ["flag no", "a"]),
    ('return match flag("no") { true => note("t"), false => note("f") }', ["flag no", "f"]),
    ('return o ?? note("c")', ["c"]), ('return three ?? note("c")', []), ('return try note("a") else note("d")', ["a"]),
    ('return try bad("a") else note("d")', ["!a", "d"]),
    ('return try (try bad("a") else bad("b")) else note("d")', ["!a", "!b", "d"]),
    ('return fold acc = 0 for x in ["a", "b"] { acc + note(x) }', ["a", "b"]),
    ('return loop (i = 0) while i < 3 limit 10 { note("${i}") }', ["0", "1", "2"]),
    ('return loop (i = 0) while i < 3 limit 2 { note("${i}") }', ["0", "1"]),
    ('let r = if 1 // 0 == 1 { note("t") } else { note("e") }\nreturn 5', []),
    ('bad("1")\nbad("2")\nnote("3")\nreturn 5', ["!1", "!2", "3"]),
    ('let r = bad("y")\nlet t = note("${r}")\nlet u = note("q")\nreturn u', ["!y", "q"]),
    ('let a = slow("a")\nlet b = note("b")\nreturn b', ["a", "b"]),
    ('if flag("yes") { say("a") }\nif flag("no") { say("b") }\nsay("c")\nreturn 1', ["flag yes", "a", "flag no", "c"]),
    ('let xs = for i, x in ["a", "b"] { if i == 0 { note(x) } else { say(x)\n 7 } }\n'
     'say("z")\nreturn sum(xs)', ["a", "b", "z"]),
    ('let a = G("1")\nsay("m")\nlet b = G("2").v\nreturn 1', ["g1", "h1", "m", "g2", "h2"]),
    ('say("${len(F("q")) > 0}")\nsay("z")\nreturn 1', ["true", "z"]),
])
def test_effects_run_once_in_the_order_of_the_source(sem: Any, body: str, log: list[str]) -> None:
    run(sem, body, more="""program G(x: text) -> (u: int, v: text) {
      let a = note("g" + x)
      say("h" + x)
      return a, "q"
    }""")
    assert sem.log == log


def test_only_host_calls_wait_for_each_other(sem: Any) -> None:
    """A call of a model behind a host call that has effects does not wait for it."""
    sem.hosts(HOSTS)
    events: list[str] = []
    module = sem.module(DECLARATIONS + 'program Main() -> (a: text, b: text) {\n  let a = slow("a")\n'
                        '  let b = F("b")\n  return a, b\n}')
    engine = sem.engine(False)
    result = run_module(module, {"": engine}, {}, on_event=lambda event: events.append(type(event).__name__))
    assert result.ok and events.index("CallEnded") < events.index("OutputReady")
    assert sem.log == ["a"]


def test_unordered_drops_the_order_only(sem: Any) -> None:
    for _ in range(2):
        sem.hosts(HOSTS)
        module = sem.module(DECLARATIONS + '''program Main() -> (xs: int, z: int) {
          let first = note("first")
          let xs = unordered for x in ["a", "b", "c"] { note(x) }
          let z = note("z")
          return len(xs), z }''', 2)
        result = run_module(module, {"": sem.engine(True)}, {})
        assert result.outputs == {"xs": 3, "z": 5}
        assert sem.log[0] == "first" and sorted(sem.log[1:4]) == ["a", "b", "c"] and sem.log[4] == "z"


@pytest.mark.parametrize(("body", "type", "log"), [
    ('return up("a") + up("a") + up("b")', "text", ["up a", "up b"]), ('let u = up("zz")\nreturn 1', "int", []),
    ('return join([up(x) for x in ["a", "b", "a"]])', "text", ["up a", "up b"]),
    ('return if flag("no") { up("a") } else { "q" }', "text", ["flag no"]),
    ('return patient("a")', "text", ["a 1", "a 2", "a 3"]),
    ('let a = outcome(third("a"))\nreturn if a.ok { "x" } else { third("a") }', "text", ["a 1", "a 2"]),
])
def test_pure_hosts_run_when_needed_and_once(sem: Any, body: str, type: str, log: list[str]) -> None:
    """Failures are not remembered: the same call may be made again."""
    run(sem, body, type, 'host third(x: text) -> text from "conformance_hosts:third_time" (pure)')
    assert sorted(sem.log) == sorted(log)


@pytest.mark.parametrize(("body", "errors"), [
    ('return bad("a")', {"x": "the host function `bad` raised ValueError: no a"}),
    ('bad("a")\nreturn 1', {"bad": "the host function `bad` raised ValueError: no a"}),
    ('bad("a")\nbad("b")\nreturn 1', {"bad": "the host function `bad` raised ValueError: no a",
                                     "bad#2": "the host function `bad` raised ValueError: no b"}),
    ('let r = outcome(bad("a"))\nreturn len(r.message)', {"bad": "the host function `bad` raised ValueError: no a"}),
    ('let a = pure_bad("a")\nreturn 1', {}), ('return try len(pure_bad("a")) else 4', {}),
    ('return len(impatient("b"))', {"x": "the host function `impatient` raised OSError: not yet (attempt 2 of 2)"}),
    ('return len(short("a"))', {"x": "the host function `short` did not answer within 0.01 s"}),
])
def test_which_failures_are_reported(sem: Any, body: str, errors: dict[str, str]) -> None:
    result = run(sem, body)
    assert {name: error.message for name, error in result.errors.items()} == errors


def test_equal_hosts_of_two_folders_are_two_hosts(sem: Any) -> None:
    for folder in ("one", "two"):
        sem.write(f"def name():\n    return '{folder}'\n", f"{folder}/same_name.py")
        sem.write('host name() -> text from "same_name:name" (pure)\nprogram Name() -> x: text { return name() }',
                  f"{folder}/part.sem")
    result = sem.run('use "one/part.sem" as one\nuse "two/part.sem" as two\n'
                     "program Main() -> (a: text, b: text) { return one.Name(), two.Name() }")
    assert result.errors == {}
    assert result.outputs == {"a": "one", "b": "two"}


def test_looking_at_a_program_imports_no_host(sem: Any, semc: Any) -> None:
    sem.write("open('imported', 'a').close()\ndef f():\n    return 1\n", "touchy.py")
    sem.write('host f() -> int from "touchy:f"\n\nprogram Main() -> x: int {\n  return f()\n}\n')
    for command in (["check"], ["fmt", "--check"], ["compile"], ["compile", "--emit", "sem"]):
        semc(command[0], "main.sem", *command[1:])
        assert not (sem.folder / "imported").exists(), command
    semc("run", "main.sem", "--engine", "reference")
    assert (sem.folder / "imported").exists()


@pytest.mark.parametrize(("declaration", "code"), [
    ('host h(x: text) -> text from "m:f" (retries = 2)', "E0802"), ('host h(x: text) from "m:f" (pure)', "E0803"),
    ('host h(x: text) -> text from "module"', "E0801"), ('host h(x: text) -> text from "m:f" (purr)', "E0030"),
    ('host h(x: text) -> text from "m:f" (timeout = 3)', "E0031"),
    ('host h(x: text) -> text from "m:f" (retries = 1s)', "E0031"),
    ('host h(x: chat) -> text from "m:f"', "E0213"), ('host h(x: text) -> text from "m:f" (pure, pure)', "E0404"),
])
def test_wrong_declarations(sem: Any, declaration: str, code: str) -> None:
    assert [c for c in sem.codes(f"{declaration}\nprogram Main() -> x: int {{ return 1 }}") if c[0] == "E"] == [code]
