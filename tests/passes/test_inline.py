"""What `inline` refuses, and programs that call programs."""

import pytest
from semlang.ir.core import Module, walk
from semlang.ir.diagnostics import InputError
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.target import Target
from semlang.ir.verifier import verify
from semlang.passes.inline import Inline

FUNCTIONS = """
sem.func(@Turn) {model = "small"} |%h: prompt, %x: text| {
  %0 = prompt.append(%h, %x) : prompt
  %y, %1 = prompt.generate(%0) {output = "y", stream = ""} : text, prompt
  sem.return(%y, %1) {names = ["y"]}
}
sem.func(@Fresh) |%x: text| {
  %0 = prompt.start() : prompt
  %1 = prompt.append(%0, %x) : prompt
  %y, %2 = prompt.generate(%1) {output = "y", stream = ""} : text, prompt
  sem.return(%y, %2) {names = ["y"]}
}
"""


def inlined(text: str, program: str = "") -> Module:
    module = parse_module(SourceFile("test.sir", text))
    verify(module)
    Inline(program).run(module, Target())
    verify(module)
    return module


def refusal(text: str, program: str = "") -> str:
    with pytest.raises(InputError) as caught:
        inlined(text, program)
    return "\n".join(f"{d.code} {d.message} {d.fix or ''}" for d in caught.value.diagnostics)


def program(name: str, body: str = "sem.return() {names = []}") -> str:
    return f"sem.program(@{name}) |%a: text, %c: bool, %xs: list<text>| {{ {body} }}\n"


def call(name: str) -> str:
    return f"sem.call(@{name}, %a, %c, %xs) {{ordinal = 0}} sem.return() {{names = []}}"


def test_the_root_must_be_clear() -> None:
    two = program("A") + program("B") + program("C", call("A"))
    assert "`B`, `C`" in refusal(two)
    assert "E0932" in refusal(two, "D") and "`A`, `B`, `C`" in refusal(two, "D")
    assert [op.symbol for op in inlined(two, "A").ops] == ["A"]
    assert "no program" in refusal(FUNCTIONS)


def test_circles_are_named() -> None:
    module = parse_module(SourceFile("test.sir", "".join(
        program(name, call(callee)) for name, callee in (("A", "B"), ("B", "C"), ("C", "B")))))
    with pytest.raises(InputError, match="B → C → B"):
        Inline().run(module, Target())


def test_a_callee_must_exist() -> None:
    module = parse_module(SourceFile("test.sir", program("A", call("B"))))
    with pytest.raises(InputError, match="no function or program `B`"):
        Inline().run(module, Target())


@pytest.mark.parametrize("chat", [
    "%y, %chat = sem.call(@Fresh, %a) {ordinal = 0} : text, prompt",
    '%y, %chat = sem.call(@Fresh, %a) {ordinal = 0, with = {model = "big"}} : text, prompt',
    """%y, %other = sem.call(@Fresh, %a) {ordinal = 0} : text, prompt
       %s = prompt.start() {model = "small"} : prompt
       %chat = flow.if(%c) { flow.yield(%s) } else { flow.yield(%other) } : prompt""",
    """%y, %other = sem.call(@Fresh, %a) {ordinal = 0} : text, prompt
       %chat = flow.fold(%xs, %other) |%i: int, %x: text, %h: prompt| { flow.yield(%h) } : prompt""",
])
def test_a_chat_of_another_model_is_refused(chat: str) -> None:
    text = FUNCTIONS + program("A", f"""{chat}
        %z, %end = sem.call(@Turn, %chat, %a) {{ordinal = 1}} : text, prompt
        sem.return(%z) {{names = ["z"]}}""")
    assert "E0938" in refusal(text)
    assert "test.sir:" in refusal(text)


def test_models_in_lists_are_left_to_the_run() -> None:
    """A list of chats may hold several models; nothing is certain, so nothing is refused."""
    inlined(FUNCTIONS + program("A", """%y, %one = sem.call(@Fresh, %a) {ordinal = 0} : text, prompt
        %two = prompt.start() : prompt
        %chats = flow.pure(@list, %one, %two) : list<prompt>
        %zs = flow.for(%chats) |%i: int, %h: prompt| {
          %z, %end = sem.call(@Turn, %h, %a) {ordinal = 1} : text, prompt
          flow.yield(%z)
        } : list<text>
        sem.return(%zs) {names = ["zs"]}"""))


def test_a_long_chain_of_programs() -> None:
    """Calls may nest as deeply as there are programs."""
    depth = 3000
    texts = [program("P0", "%u = flow.pure(@upper, %a) : text sem.return(%u) {names = [\"u\"]}")]
    texts += [program(f"P{n}", f'%u = sem.call(@P{n - 1}, %a, %c, %xs) {{ordinal = 0}} : text '
                               'sem.return(%u) {names = ["u"]}') for n in range(1, depth)]
    (root,) = inlined("".join(texts)).ops
    assert root.symbol == f"P{depth - 1}"
    assert [op.name for op in root.regions[0].ops] == ["flow.pure", "sem.return"]
    assert len(root.regions[0].ops[0].location.chains[0]) == depth


def test_samples_by_a_call_change_the_type() -> None:
    module = inlined(FUNCTIONS + program("A", """
        %ys, %end = sem.call(@Fresh, %a) {ordinal = 0, with = {n = 3, temperature = 1.0}} : list<text>, prompt
        sem.return(%ys) {names = ["ys"]}"""))
    (generate,) = [op for op in walk(module.ops) if op.name == "prompt.generate"]
    assert str(generate.results[0].type) == "list<text>" and generate.attributes["n"] == 3
    assert generate.attributes["stream"] == "A/Fresh#0"
