"""Errors of a run: what a failure fails and what it leaves intact, and how it is reported.

See docs/language.md, Errors of a run. `bad(n)` is a host function that fails with the message `bad n`.
"""

from typing import Any

import pytest

HOSTS = "def bad(n): raise ValueError(f'bad {n}')"
DECLARATIONS = '''
host bad(n: int) -> int from "conformance_hosts:bad" (pure)
type R { a: int, b: int }
semantic F(x: int) -> (y: text, z: text) { """a {{output:y max_tokens=2 stop="q"}} {{x}} {{output:z max_tokens=2}}""" }
program G(n: int) -> (x: int, y: int) { return n, bad(n) }
program H(n: int) -> (x: int, y: int) { return 5, n }
'''


def run(sem: Any, outputs: str, body: str) -> Any:
    return sem.run(f"{DECLARATIONS}program Main() -> ({outputs}) {{\n{body}\n}}", hosts=HOSTS, program="Main")


@pytest.mark.parametrize(("expression", "value"), [
    ("R(a = bad(1), b = 2).b", 2), ("len([1, bad(2), 3])", 3), ("[1, bad(2), bad(3)][0] ?? 0", 1),
    ("[x for x in [1, bad(2), 3]][2] ?? 0", 3), ("[x for x in [1, bad(2), 3] if true][2] ?? 0", 3),
    ("[1, bad(2), 3][1:][1] ?? 0", 3), ("reverse([1, bad(2), 3])[0] ?? 0", 3),
    ("[p.second for p in zip([1, bad(2)], [bad(3), 4])][1] ?? 0", 4), ("flatten([[1], [bad(2)], [3]])[2] ?? 0", 3),
    ("fold acc = 0 for x in [1, bad(2), 3] { acc + 1 }", 3), ('["k": bad(1), "l": 2]["l"] ?? 0', 2),
    ('len(["k": bad(1)])', 1), ("[e.index for e in enumerate([bad(1), 2])][1] ?? 9", 1), ("try bad(1) else 4", 4),
    ("try 1 + bad(1) else 4", 4), ("(try [1, bad(2)] else [9, 9, 9])[0] ?? 0", 1),
    ("if outcome(bad(1)).ok { 1 } else { 2 }", 2),
    ("if false and bad(1) == 1 { 1 } else { 2 }", 2), ("if true or bad(1) == 1 { 1 } else { 2 }", 1),
    ("len([y for y in [x + 1 for x in [1, bad(2), 3]]])", 3), ("[x + 1 for x in [1, bad(2), 3]][2] ?? 0", 4),
    ("G(1).x", 1),
    ("H(bad(1)).x", 5), ("if outcome([1, bad(2)]).ok { 1 } else { 2 }", 1), ("outcome(bad(3)).value ?? 7", 7),
    ("outcome(3).value ?? 7", 3), ("len(outcome(3).message)", 0), ("match 1 { 1 => 2, _ => bad(1) }", 2),
    ("loop (i = 0) while i < 3 limit 5 { if i == 5 { bad(i) } else { i + 1 } }", 3),
])
def test_what_a_failure_leaves_intact(sem: Any, expression: str, value: int) -> None:
    result = run(sem, "x: int", f"return {expression}")
    assert result.errors == {} and result.outputs == {"x": value}


@pytest.mark.parametrize(("expression", "message"), [
    ("R(a = bad(1), b = 2).a", "bad 1"), ("sum([1, bad(2), bad(3)])", "bad 2"), ("bad(1) + bad(2)", "bad 1"),
    ("len(\"${R(a = 1, b = bad(2))}\")", "bad 2"), ("[1, bad(2)][1] ?? 0", "bad 2"),
    ("[x for x in [1, bad(2)] if x > 0][0] ?? 9", "bad 2"),
    ("fold acc = 0 for x in [1, bad(2)] { acc + x }", "bad 2"), ("if bad(1) == 1 { 2 } else { bad(3) }", "bad 1"),
    ("match bad(1) { 1 => 2, _ => 3 }", "bad 1"), ("try bad(1) else bad(2)", "bad 2"), ("len(range(bad(1)))", "bad 1"),
    ("if 3 in [3, bad(1)] { 1 } else { 2 }", "bad 1"), ("min(1, bad(1))", "bad 1"), ("max([1, bad(1)]) ?? 0", "bad 1"),
    ("loop (i = 0) while i < 3 limit bad(3) { i + 1 }", "bad 3"),
    ("loop (i = 0) while i < 3 limit 5 { bad(i) }", "bad 0"),
    ("G(1).y", "bad 1"), ("H(bad(1)).y", "bad 1"), ("if [1] == [bad(1)] { 1 } else { 2 }", "bad 1"),
    ("[if x > 1 { 1 } else { 2 } for x in [bad(1)]][0] ?? 0", "bad 1"), ("unique([1, bad(2)])[0] ?? 0", "bad 2"),
    ("sort([bad(2), 1])[0] ?? 0", "bad 2"), ("bad(bad(1))", "bad 1"),
    ("if bad(1) == 1 and false { 1 } else { 2 }", "bad 1"),
    ("(if bad(1) == 1 { 1 } else { 2 }) + bad(2)", "bad 1"), ("[1][bad(0)] ?? 4", "bad 0"), ("-bad(1)", "bad 1"),
])
def test_what_a_failure_fails(sem: Any, expression: str, message: str) -> None:
    """The first failed operand in the order of the source is reported, whatever came first in time."""
    result = run(sem, "x: int", f"return {expression}")
    assert result.outputs == {}
    assert result.errors["x"].message == f"the host function `bad` raised ValueError: {message}"


def test_each_output_for_itself(sem: Any) -> None:
    result = run(sem, "a: int, b: list[int], c: R, d: text, e: int", '''
  let z = 1 // 0
  return z + 1, [2, bad(1), z], R(a = 1, b = z), F(3).y, 4''')
    assert set(result.outputs) == {"d", "e"}
    places = {name: (error.message, error.location.rpartition("main.sem")[2]) for name, error in result.errors.items()}
    assert places == {
        "a": ("division by zero", ":9:11"), "c": ("division by zero", ":9:11"),
        "b": ("the host function `bad` raised ValueError: bad 1", ":10:21")}


def test_carried_values_fail_apart(sem: Any) -> None:
    result = run(sem, "a: int, b: int, c: int, d: int, e: int, f: int", '''
  let r = fold a = 0, b = 0 for x in [1, bad(2)] { yield a + 1, b + x }
  let l = loop (c = 0, d = 0) while c < 3 limit 5 { yield c + 1, d + bad(c) }
  let m = loop (e = 0, f = 0) while e + f < 3 limit 5 { yield e + 1, f + bad(e) }
  return r.a, r.b, l.c, l.d, m.e, m.f''')
    assert result.outputs == {"a": 2, "c": 3}
    messages = {name: error.message[-5:] for name, error in result.errors.items()}
    assert messages == {"b": "bad 2", "d": "bad 0", "e": "bad 0", "f": "bad 0"}


def test_a_failed_input_fails_only_the_outputs_behind_it(sem: Any) -> None:
    result = run(sem, "y: text, z: text, ys: list[text], n: int", '''
  let r = F(bad(1))
  let rs = for x in [1, bad(2), 3] { F(x).z }
  return r.y, r.z, rs, len(rs)''')
    assert set(result.outputs) == {"y", "n"} and result.outputs["n"] == 3
    assert {n: e.message[-5:] for n, e in result.errors.items()} == {"z": "bad 1", "ys": "bad 2"}


@pytest.mark.parametrize("tag", ["{{if x > 1}}b{{end}}", "{{for i in range(x)}}b{{end}}", "{{x}}", "{{input:[x]}}"])
def test_a_failed_value_in_a_tag_fails_the_prompt(sem: Any, tag: str) -> None:
    result = sem.run(f'{DECLARATIONS}semantic T(x: int) -> y: text {{"""a {tag} {{{{y}}}}"""}}\n'
                     "program Main() -> (y: text, z: int) { return T(bad(1)), 2 }", hosts=HOSTS, program="Main")
    assert result.outputs == {"z": 2} and result.calls == []


def test_errors_on_which_nothing_depends_are_not_reported(sem: Any) -> None:
    result = run(sem, "x: int", "let a = bad(1)\nlet b = 1 // 0\nlet c = F(bad(2))\nreturn 1")
    assert result.errors == {} and result.outputs == {"x": 1}


def test_a_prompt_that_outgrows_its_model(sem: Any) -> None:
    result = sem.run('''semantic T(x: text) -> y: text { """a {{x}} {{output:y max_tokens=2}}""" }
program Main(n: int = 9000) -> (y: text, z: text, caught: text) {
  let long = join(["word" for i in range(n)], " ")
  return T(long), T("short"), try T(long) else "too long"
}''')
    assert set(result.outputs) == {"z", "caught"} and result.outputs["caught"] == "too long"
    assert result.errors["y"].message.startswith("context overflow: the prompt has ")
    assert result.errors["y"].message.endswith(" tokens, the model's context holds 8192")


def test_the_object_of_a_failed_run(sem: Any, semc: Any) -> None:
    sem.write(f"{HOSTS}\n", "failing.py")
    sem.write(DECLARATIONS.replace("conformance_hosts", "failing")
              + "program Main() -> (x: int, y: int) {\n  return G(3).y, 1\n}")
    for level in ("-O0", "-O1", "-O2"):
        found = semc.json("main.sem", "--program", "Main", level, code=1)
        assert found["outputs"] == {"y": 1}
        assert found["errors"] == {"x": {"message": "the host function `bad` raised ValueError: bad 3",
                                         "location": "main.sem:5:51"}}
        assert "error[E1107]: `x` failed: the host function `bad` raised ValueError: bad 3" in semc.err
        assert "--> main.sem:5:51" in semc.err and "= note: called from main.sem:8:10" in semc.err
    semc("run", "main.sem", "--program", "Main", "--engine", "reference", code=1)
    assert semc.out == "── y ──\n1\n"


def test_a_run_that_takes_too_long(sem: Any, semc: Any) -> None:
    sem.write("import time\ndef slow(n):\n    time.sleep(20)\n    return n\n", "slow.py")
    sem.write('host slow(n: int) -> int from "slow:slow"\nprogram Main() -> (x: int, y: int) { return slow(3), 1 }')
    found = semc.json("main.sem", "--timeout", "0.1", code=1)
    assert found["outputs"] == {"y": 1}
    assert found["errors"]["x"]["message"] == "the run did not end within 0.1 s"
