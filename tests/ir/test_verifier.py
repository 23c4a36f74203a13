"""What IR text cannot say wrongly, how errors are shown, and which modules pass."""

from collections.abc import Callable

import pytest
from semlang.ir.core import Module, Op, Region, Symbol, Value
from semlang.ir.definition import Level
from semlang.ir.diagnostics import InputError
from semlang.ir.levels import level_of, levels_of
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.types import INT, TEXT, Enum, EnumMember, Type
from semlang.ir.verifier import VerificationError, problems, verify, verify_input

RETURN: dict[str, tuple[str, ...]] = {"names": ()}


def program(*ops: Op, parameters: list[Value] | None = None) -> Module:
    body = Region(parameters or [], [*ops, Op("sem.return", [], [], dict(RETURN))])
    return Module([Op("sem.program", [Symbol("P")], [], {}, [body])])


def constant(type: Type = INT) -> Op:
    return Op("flow.const", [1], [Value(type, "x")])


def parse(text: str) -> Module:
    return parse_module(SourceFile("m.sir", text))


def _use_before_definition() -> Module:
    definition = constant()
    return program(Op("flow.pure", [Symbol("neg"), definition.result], [Value(INT)]), definition)


def _use_from_a_closed_region() -> Module:
    inner = constant()
    condition = Value(TEXT, "c")
    regions = [Region([], [op, Op("flow.yield")]) for op in (inner, constant())]
    return program(Op("flow.if", [condition], [], {}, regions),
                   Op("flow.pure", [Symbol("neg"), inner.result], [Value(INT)]), parameters=[condition])


def _use_of_own_result() -> Module:
    value = Value(INT, "x")
    return program(Op("flow.pure", [Symbol("neg"), value], [value]))


def _use_from_another_program() -> Module:
    definition = constant()
    module = program(definition)
    other = Region([], [Op("sem.return", [definition.result], [], {"names": ("y",)})])
    module.ops.append(Op("sem.program", [Symbol("Q")], [], {}, [other]))
    return module


def _defined_twice() -> Module:
    value = Value(INT, "x")
    return program(Op("flow.const", [1], [value]), Op("flow.const", [2], [value]))


def _one_operation_twice() -> Module:
    op = Op("engine.group", [Symbol("g")])
    return program(op, op)


def _unknown_operation() -> Module:
    return program(Op("flow.fork", [], [Value(INT)]))


def _undeclared_type() -> Module:
    return program(parameters=[Value(Enum("Color", (EnumMember("red", "red"),)), "c")])


def _other_type_than_declared() -> Module:
    module = _undeclared_type()
    module.ops.insert(0, Op("sem.enum", [Symbol("Color")], [], {"members": ("blue",), "texts": ("blue",)}))
    return module


@pytest.mark.parametrize(("make", "message"), [
    (_use_before_definition, "%x is not defined before this use"),
    (_use_from_a_closed_region, "%x is not defined before this use, or not in a region around it"),
    (_use_of_own_result, "%x is not defined before this use"),
    (_use_from_another_program, "%x is not defined before this use"),
    (_defined_twice, "%x is defined twice"),
    (_one_operation_twice, "stands at two places"),
    (_unknown_operation, "unknown operation `flow.fork`"),
    (_undeclared_type, "the enum Color is not declared"),
    (_other_type_than_declared, "the enum Color here differs from its declaration"),
])
def test_what_only_code_can_build(make: Callable[[], Module], message: str) -> None:
    with pytest.raises(VerificationError, match=message):
        verify(make())


def test_the_operation_is_shown_in_place() -> None:
    consts = "\n".join(f"  %c{i} = flow.const({i}) : int" for i in range(20))
    more = consts.replace("%c", "%d")
    wrong = "  %bad = flow.const(\"a\") : int"
    module = parse(f"sem.program(@P) {{\n{consts}\n{wrong}\n{more}\n  sem.return() {{names = []}}\n}}")
    with pytest.raises(VerificationError) as error:
        verify(module)
    lines = str(error.value).splitlines()
    assert lines[0] == "m.sir:22:3: this is no constant of type int: the literal is no int"
    assert lines[6] == '      22 |   %bad = flow.const("a") : int'
    assert lines[7] == "         |   ^ this is no constant of type int: the literal is no int"
    assert lines[1].endswith("%c15 = flow.const(15) : int") and lines[-1].endswith("%d4 = flow.const(4) : int")
    assert len(lines) == 13


def test_many_problems_are_counted() -> None:
    module = program(*(Op("flow.const", ["a"], [Value(INT)]) for _ in range(30)))
    with pytest.raises(VerificationError, match="… and 20 more problems") as error:
        verify(module)
    assert len(error.value.problems) == 30


def test_input_errors_have_a_place_and_a_remedy() -> None:
    source = SourceFile("m.sir", 'sem.model(@m) {identifer = "x"}\n')
    with pytest.raises(InputError) as error:
        verify_input(parse_module(source), source)
    first = error.value.diagnostics[0]
    assert first.primary and str(first.primary.span) == "m.sir:1:1" and "did you mean `identifier`?" in first.message


ENGINE = """sem.program(@P) |%a: text| {
  %c = engine.fill(engine.root, %a) : ctx
  %y, %d = engine.generate(%c) {output = "y"} : text, ctx
  sem.return(%y) {names = ["y"]}
}
"""


def test_ownership_is_checked_from_the_first_free_on() -> None:
    verify(parse(ENGINE), Level.ENGINE)
    assert [p.message for p in problems(parse(ENGINE), owned=True)] == [
        "the context %c is never freed", "the context %d is never freed"]
    freed = ENGINE.replace("  sem.return", "  engine.free(%c, %d)\n  sem.return")
    verify(parse(freed), owned=True)
    with pytest.raises(VerificationError, match="%d is never freed"):
        verify(parse(freed.replace("%c, %d)\n", "%c)\n")))


@pytest.mark.parametrize(("body", "levels", "level"), [
    ("sem.program(@P) { sem.return() {names = []} }", {"sem", "prompt", "engine"}, "prompt"),
    ("sem.program(@P) { sem.return() {names = []} } sem.program(@Q) { sem.return() {names = []} }", {"sem"}, "sem"),
    ("sem.program(@P) { %p = prompt.start() : prompt sem.return() {names = []} }", {"sem", "prompt"}, "prompt"),
    (ENGINE, {"engine"}, "engine"),
])
def test_levels(body: str, levels: set[str], level: str) -> None:
    module = parse(body)
    assert {found.value for found in levels_of(module)} == levels
    assert level_of(module).value == level
    for one in Level:
        assert bool(problems(module, one)) == (one.value not in levels)


def test_mixed_levels_have_no_level() -> None:
    module = parse(ENGINE.replace("  %y,", "  %p = prompt.start() : prompt\n  %y,"))
    with pytest.raises(ValueError, match="different levels"):
        level_of(module)
    with pytest.raises(VerificationError, match=r"prompt\.start does not belong to level engine"):
        verify(module)
