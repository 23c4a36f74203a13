"""The frontend's entry points: roots, tests, files in use, large sources, and what checking never does."""

import subprocess
import sys
from pathlib import Path

import pytest
from semlang.frontend.compile import CompiledUnit, check_file, compile_file, compile_tests
from semlang.ir.core import Module, Op, walk
from semlang.ir.definition import Level
from semlang.ir.diagnostics import InputError
from semlang.ir.verifier import verify

FUNCTION = 'semantic F(x: text) -> y: text {\n  """{{x}} {{y}}"""\n}\n'
A = "program A(x: text) -> y: text {\n  return F(x)\n}\n"
B = "program B(x: text) -> y: text {\n  return A(x)\n}\n"
C = "program C(x: text) -> y: text {\n  return F(x)\n}\n"


def compiled(source: str, program: str | None = None, **files: str) -> CompiledUnit:
    """`source` compiled; `files` are those in use by name, without `.sem`."""
    texts = {"main.sem": source, **{f"{name}.sem": text for name, text in files.items()}}
    return compile_file("main.sem", program=program, read=lambda path: texts[path].encode())


def errors(source: str) -> list[str]:
    """The codes of the errors in `source`."""
    result = check_file("main.sem", read=lambda path: source.encode())
    return [d.code for d in result.diagnostics if d.severity == "error"]


def codes_of(source: str, program: str | None = None) -> list[str]:
    """The codes of the errors that compiling `source` raises."""
    with pytest.raises(InputError) as caught:
        compiled(source, program)
    return [d.code for d in caught.value.diagnostics]


def ops(module: Module, name: str) -> list[Op]:
    return [op for op in walk(module.ops) if op.name == name]


def test_the_root_is_the_program_that_no_other_calls() -> None:
    unit = compiled(FUNCTION + A + B)
    assert unit.root == "B"
    assert unit.programs == ("A", "B")
    assert [op.symbol for op in ops(unit.module, "sem.program")] == ["A", "B"]


def test_a_chosen_program_is_the_root_and_the_module_holds_what_it_reaches() -> None:
    unit = compiled(FUNCTION + A + B + C, "A")
    assert unit.root == "A"
    assert [op.symbol for op in unit.module.ops] == ["F", "A"]


def test_several_roots_are_listed() -> None:
    with pytest.raises(InputError) as caught:
        compiled(FUNCTION + A + B + C)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0807"
    assert "`B`" in diagnostic.notes[0] and "`C`" in diagnostic.notes[0]


def test_a_missing_program_is_an_error() -> None:
    assert codes_of(FUNCTION) == ["E0806"]
    assert codes_of(FUNCTION + A, "AA") == ["E0806"]


def test_a_root_takes_and_gives_no_chat() -> None:
    assert codes_of("program P(h: chat) -> y: text {\n  return \"\"\n}\n") == ["E0805"]
    assert codes_of("program P(x: text) -> h: chat {\n  return chat()\n}\n") == ["E0805"]


def test_models_are_those_of_all_files() -> None:
    unit = compiled(f'use "other.sem" as other\nmodel small = "a/b"\n{FUNCTION}{A}', other='model small = "c/d"\n')
    assert unit.models == {"small": "a/b", "other.small": "c/d"}


def test_errors_of_used_files_are_reported_with_their_place() -> None:
    with pytest.raises(InputError) as caught:
        compiled(f'use "other.sem"\n{FUNCTION}{A}', other="program Wrong(x: text) -> y: text {\n  return z\n}\n")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.primary is not None and str(diagnostic.primary.span) == "other.sem:2:10"


def test_names_of_a_used_file_are_not_passed_on() -> None:
    texts = {"a.sem": f'use "b.sem"\n{A}', "b.sem": f'use "c.sem"\n{C}', "c.sem": FUNCTION}
    result = check_file("a.sem", read=lambda path: texts[path].encode())
    assert [d.code for d in result.diagnostics] == ["E0202"]


def test_each_test_is_a_program_with_its_assertions() -> None:
    source = FUNCTION + A + (
        'test "one" {\n  let y = A("x") with engine reference\n  assert y != ""\n  assert len(y) > 1 or true\n}\n'
        'test "two" {\n  assert F("a") == "b"\n}\n')
    tests = compile_tests("main.sem", read=lambda path: source.encode()).tests
    first, second = tests
    assert (first.name, first.engine, second.engine) == ("one", "reference", None)
    assert [a.text for a in first.assertions] == ['y != ""', "len(y) > 1 or true"]
    assert [a.left for a in first.assertions] == ["assert 1 left", None]
    program = first.module.find("sem.program", first.root)
    assert program is not None
    assert program.regions[0].terminator.attributes["names"] == (
        "assert 1", "assert 1 left", "assert 1 right", "assert 2")
    for test in tests:
        verify(test.module, Level.SEM)
    assert [op.symbol for op in second.module.ops] == ["F", second.root]


def test_modules_of_tests_share_nothing() -> None:
    source = FUNCTION + 'test "one" {\n  assert F("a") == ""\n}\ntest "two" {\n  assert F("a") == ""\n}\n'
    first, second = compile_tests("main.sem", read=lambda path: source.encode()).tests
    assert not set(walk(first.module.ops)) & set(walk(second.module.ops))


def test_ordinals_follow_the_source_and_indices_the_iterations() -> None:
    source = FUNCTION + (
        "program P(xs: list[text]) -> r: list[text] {\n"
        '  return for x in xs { let i = fold a = "" for y in xs { F(F(y)) }\n    F(i) }\n}\n')
    calls = ops(compiled(source).module, "sem.call")
    found = sorted((op.attributes["ordinal"], op.attributes["indices"]) for op in calls)
    assert found == [(0, 2), (1, 2), (2, 1)]
    (outer,) = ops(compiled(source).module, "flow.for")
    (fold,) = [op for op in outer.regions[0].ops if op.name == "flow.fold"]
    inner = [op for op in fold.regions[0].ops if op.name == "sem.call"]
    assert all(op.operands[-2:] == [outer.regions[0].parameters[0], fold.regions[0].parameters[0]] for op in inner)


def test_every_operation_has_a_location() -> None:
    unit = compile_file(str(Path(__file__).parent / "conformance/everything.sem"))
    assert all(op.location.chains for op in walk(unit.module.ops))


def test_checking_imports_neither_hosts_nor_numerical_libraries(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text("raise RuntimeError('a host module was imported')\n")
    path = tmp_path / "main.sem"
    path.write_text('host f(x: text) -> text from "tools:f"\nprogram P(x: text) -> y: text {\n  return f(x)\n}\n')
    code = (
        "import sys; from semlang.frontend.compile import compile_file; compile_file(sys.argv[1]); "
        "print(sorted({'torch', 'transformers', 'numpy', 'tools', 'lark', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_long_match_becomes_a_shallow_tree() -> None:
    arms = "".join(f"    {n} => {n * 2},\n" for n in range(500))
    source = f"program P(x: int) -> y: int {{\n  return match x {{\n{arms}    _ => -1,\n  }}\n}}\n"
    module = compiled(source).module
    assert _depth(module.ops) < 20
    assert len(ops(module, "flow.if")) == 500


def _depth(ops: list[Op]) -> int:
    return 1 + max((_depth(region.ops) for op in ops for region in op.regions), default=0)


def test_long_chains_of_else_if() -> None:
    chain = " else ".join(f"if x == {n} {{ {n} }}" for n in range(150))
    source = f"program P(x: int) -> y: int {{\n  return {chain} else {{ -1 }}\n}}\n"
    assert len(ops(compiled(source).module, "flow.if")) == 150


def test_the_size_of_the_module_is_linear_in_the_source() -> None:
    def size(calls: int) -> int:
        lines = "".join(f"  let v{n + 1} = F(v{n})\n" for n in range(calls))
        source = f"{FUNCTION}program P(v0: text) -> y: text {{\n{lines}  return v{calls}\n}}\n"
        return sum(1 for _ in walk(compiled(source).module.ops))

    assert size(2_000) - size(1_000) == 1_000


def test_errors_in_one_declaration_do_not_hide_those_of_others() -> None:
    first, second = (f"program {n}(x: text) -> y: text {{\n  return {e}\n}}\n" for n, e in (("A", "F(1)"), ("B", "z")))
    source = FUNCTION + first + second
    assert errors(source) == ["E0301", "E0201"]


def test_unused_things_are_not_reported_beside_errors() -> None:
    source = "program A(x: text) -> y: text {\n  let a = 1\n  return z\n}\n"
    result = check_file("main.sem", read=lambda path: source.encode())
    assert [d.code for d in result.diagnostics] == ["E0201"]


@pytest.mark.parametrize("name", ["x = 1", "len = 2", "F = 3", "text = 4", "model = 5", "unordered = 6"])
def test_variables_may_have_the_names_of_functions_and_types(name: str) -> None:
    variable = name.split()[0]
    body = f"  let r = for i in [1] {{ let {name}\n    {variable} + len([i]) }}\n  return F(\"a\") + \"${{r}}\"\n"
    assert errors(f"{FUNCTION}program A(x: text) -> y: text {{\n{body}}}\n") == []
