"""The diagnostics that the language promises: each fires with its place, its words and a remedy; one run gives all.

See docs/language.md, Diagnostics, and docs/errors.md.
"""

import json
from pathlib import Path
from typing import Any

import pytest

MISTAKES = '''
enum Mood { good, bad }
host note(x: text) -> text from "notes:note"
semantic F(x: text) -> (y: text, z: text) {
  """{{x}} {{output:y}} and {{output:w stop="."}}"""
}
semantic T(seen: text, x: text) -> y: text { """{{seen}} {{x}} {{output:y stop="\\n"}}""" }
program Main(m: Mood, n: int) -> x: int {
  note("unused")
  let a = nmae
  let b: int = "text"
  let c = loop (i = 0) while i < 3 { i + 1 }
  let d = match m { good => 1 }
  let e = Unknown(1)
  let g: Strange = 3
  let h = "a" + 1
  return n
}
'''


def test_one_run_reports_every_error(sem: Any) -> None:
    shown = sem.shown(MISTAKES)
    for code in ("E0201", "E0301", "E0601", "E0602", "E0202", "E0203", "E0302", "E0701"):
        assert f"error[{code}]" in shown, code
    assert shown.endswith("\n8 errors and 1 warning\n")


@pytest.mark.parametrize(("line", "shown"), [
    ("let a = nmae", """\
error[E0201]: unknown name `nmae`
 --> main.sem:3:11
  |
3 |   let a = nmae
  |           ^^^^ not defined here
  |
  = help: did you mean `name`?
"""),
    ("let a: int = name", """\
error[E0301]: `a` must be int, not text
 --> main.sem:3:16
  |
3 |   let a: int = name
  |                ^^^^ expected int, found text
  |
  = help: `parse_int(…)` gives `int?`
"""),
    ("let a = loop (i = 0) while i < 3 { i + 1 }", """\
error[E0601]: a `loop` needs a limit
 --> main.sem:3:11
  |
3 |   let a = loop (i = 0) while i < 3 { i + 1 }
  |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ how many turns at most?
  |
  = help: write `loop (…) while … limit 8 { … }`
"""),
    ("let a = match mood { good => 1 }", """\
error[E0602]: this `match` does not cover `bad`
 --> main.sem:3:11
  |
3 |   let a = match mood { good => 1 }
  |           ^^^^^^^^^^^^^^^^^^^^^^^^ not exhaustive
  |
  = help: add `bad => …`
"""),
])
def test_how_errors_look(sem: Any, semc: Any, line: str, shown: str) -> None:
    sem.write(f"""enum Mood {{ good, bad }}
program Main(name: text, mood: Mood) -> x: int {{
  {line}
  return 1
}}
""")
    semc("check", "main.sem", code=2)
    assert shown in semc.err
    assert semc.err.endswith("1 error\n") and semc.out == ""


@pytest.mark.parametrize(("source", "code", "words"), [
    ('semantic F(x: text) -> y: text { """{{x}}""" }', "E0701", "add `{{output:y}}` to the prompt"),
    ('semantic F(x: text) -> y: text { user """{{x}} {{y}}""" }', "E0706", "generate in an `assistant` part"),
    ('semantic F(x: text?) -> y: text { """{{x}} {{y}}""" }', "E0307", "`x ?? …`"),
    ('semantic F(x: text) -> y: text { """{{x}} {{if true}}{{output:y}}{{end}}""" }', "E0705",
     "cannot stand in an `if`"),
    ('semantic F(x: text) -> (y: list[text], z: text) { """{{output:y n=2}} {{x}} {{z}}""" }', "E0708",
     "must be the last output"),
    ('semantic F(h: chat) -> y: text { """a {{h}} {{y}}""" }', "E0702", "move it to the front"),
    ('semantic F(x: text) -> y: text { """{{input:y}} {{x}} {{output:y}}""" }', "E0707",
     "insert it after `{{output:y}}`"),
    ('semantic F(x: text) -> y: text { """{{for z in x}}{{y}}""" }', "E0043", "add `{{end}}`"),
    ('semantic F(x: text) -> y: text { """{{x}} {{y}""" }', "E0040", "close it with `}}`"),
    ('semantic F(x: text) -> y: text { system """{{x}}"""\n"""{{y}}""" }', "E0032",
     "give every prompt of the body a role"),
    ('semantic F(x: text) -> y: text { robot """{{x}}"""\nassistant """{{y}}""" }', "E0033", "the roles are"),
    ('semantic F(x: text) -> y: text using big { """{{x}} {{y}}""" }', "E0205", "declare it: `model big = "),
    ('host h(x: text) -> text from "m:f" (retries = 2)', "E0802", "add `idempotent`"),
])
def test_errors_of_declarations(sem: Any, source: str, code: str, words: str) -> None:
    shown = sem.shown(f"{source}\nprogram Main() -> n: int {{ return 1 }}")
    assert f"error[{code}]" in shown and words in shown and "--> " in shown and "^" in shown


@pytest.mark.parametrize(("source", "code", "words"), [
    ('host note(x: text) -> text from "n:note"\nprogram Main() -> n: int {\n  note("a")\n  return 1\n}', "W0102",
     "nobody uses the result of `note`"),
    ('semantic F() -> (a: text, b: text) { """{{output:a}} and {{output:b}}""" }\n'
     "program Main() -> t: text { return F().b }",
     "W0108", 'say where it ends: `{{output:a stop="\\n"}}`'),
    ('semantic T(seen: text) -> y: text { """{{seen}}: {{output:y stop="."}}""" }\nprogram Main() -> t: text {\n'
     '  return loop (seen = "") while len(seen) < 9 limit 3 { seen + T(seen) }\n}', "W0105", "carry a list"),
    ("program Main() -> n: int {\n  let unused = 3\n  return 1\n}", "W0101", "never used"),
    ("program Main(n: int) -> m: int { return match n { 1 => 2, 1 => 3, _ => 4 } }", "W0104",
     "the arms before cover it"),
    ('semantic F() -> (a: text) { """{{output:b stop="."}} {{output:a}}""" }\n'
     "program Main() -> t: text { return F() }", None, ""),
    ("test \"t\" { let x = 1 }", "W0109", "asserts nothing"),
])
def test_warnings(sem: Any, semc: Any, source: str, code: str | None, words: str) -> None:
    sem.write(source)
    semc("check", "main.sem")
    assert semc.err.count("warning[") == (1 if code != "W0109" else 2) if code else semc.err == ""
    assert (code or "") in semc.err and words in semc.err


def test_a_prompt_that_never_fits_with_the_arithmetic(sem: Any, semc: Any) -> None:
    sem.write('semantic F(x: text) -> (y: text, z: text) {\n  """' + "word " * 9000
              + '{{x}}\n  {{output:y stop="."}} {{output:z}}"""\n}\nprogram Main() -> z: text { return F("a").y }')
    for command in (["run", "main.sem", "--engine", "reference", "-O0"], ["compile", "main.sem"],
                    ["compile", "main.sem", "--emit", "prompt", "-O0"]):
        semc(*command, code=2)
        assert "error[E0950]: the prompt of the output `y` never fits" in semc.err
        assert "but the context of the default model holds 8192" in semc.err
        assert " of constants + at least " in semc.err and "--> main.sem:3:" in semc.err
    semc("check", "main.sem")  # knows no tokenizer


def test_json(sem: Any, semc: Any) -> None:
    sem.write(MISTAKES)
    found = json.loads(semc("check", "main.sem", "--json", code=2))
    assert {entry["severity"] for entry in found} == {"error", "warning"}
    assert all(set(entry) >= {"code", "message", "severity", "span", "labels", "notes", "help"} for entry in found)
    name = next(entry for entry in found if entry["code"] == "E0201")
    assert name["message"] == "unknown name `nmae`" and "main.sem" in str(name["span"])


def test_errors_in_used_files_are_shown_once_and_in_place(sem: Any, semc: Any) -> None:
    sem.write("program Part() -> x: int { return nope }\n", "part.sem")
    sem.write('use "part.sem"\nprogram Main() -> x: int { return Part() }\n')
    sem.write('use "part.sem"\nprogram Other() -> x: int { return Part() }\n', "other.sem")
    semc("check", "main.sem", "other.sem", "part.sem", code=2)
    assert semc.err.count("error[E0201]") == 1 and "--> part.sem:1:35" in semc.err


def test_warnings_do_not_change_the_exit_code(sem: Any, semc: Any) -> None:
    sem.write("program Main() -> n: int {\n  let unused = 3\n  return 1\n}")
    assert semc("run", "main.sem", "--engine", "reference") == "1\n"
    assert "warning[W0101]" in semc.err and Path("main.sem").exists()
