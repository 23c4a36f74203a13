"""Pieces as the tokenizer wants them: first pieces, roles, several models, and what only the run can know."""

from collections.abc import Sequence

import pytest
from semlang.ir.core import Module, Op, TokenList, Word, walk
from semlang.ir.diagnostics import InputError
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target, TokenizerError
from semlang.ir.verifier import verify
from semlang.passes.manager import parse_pipeline, run_pipeline
from semlang.passes.tokenize import Tokenize


class Sentences:
    """Bytes, of which a prompt's first piece gets a space in front, as sentencepiece does. Special text has id 0."""

    vocabulary_size = 256
    eos_ids: frozenset[int] = frozenset()
    bos_id: int | None = 1
    longest_token_bytes = 1

    def __init__(self, has_dummy_prefix: bool = True, digest: str = "sentences") -> None:
        self.has_dummy_prefix = has_dummy_prefix
        self.digest = digest

    def encode_piece(self, text: str, *, first: bool) -> list[int]:
        return list((" " + text if first and self.has_dummy_prefix else text).encode())

    def encode_scaffold(self, text: str) -> list[int]:
        return [0, *text.encode()]

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id])

    def decode(self, token_ids: Sequence[int]) -> str:
        return bytes(token_ids).decode()

    def role_scaffold(self, roles_so_far: tuple[str, ...], role: str) -> str:
        if roles_so_far and roles_so_far[-1] == role:
            raise TokenizerError(f"the template cannot write {role} twice")
        return f"{len(roles_so_far)}{role[0]}"


def tokenized(body: str, target: Target | None = None) -> Module:
    head = "sem.program(@Main) |%a: text, %c: bool, %xs: list<text>, %h: prompt| {"
    text = f"{head}\n{body}\nsem.return() {{names = []}}\n}}"
    module = parse_module(SourceFile("test.sir", text))
    verify(module)
    Tokenize().run(module, target or Target({"": ModelTarget(Sentences())}))
    verify(module)
    return module


def pieces(module: Module) -> list[object]:
    """The texts of the constants that were encoded, and the literals and values that were not."""
    found = [op.args[1] if len(op.args) > 1 else op.name for op in walk(module.ops)
             if op.name in ("prompt.append", "prompt.role")]
    return [bytes(p.ids).decode() if isinstance(p, TokenList) else p for p in found]


def test_only_the_first_piece_is_first() -> None:
    assert pieces(tokenized("""
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, "A") : prompt
        %2 = prompt.append(%1, "B") : prompt""")) == [" A", "B"]


def test_an_empty_piece_is_a_piece() -> None:
    assert pieces(tokenized("""
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, "") : prompt
        %2 = prompt.append(%1, "B") : prompt""")) == [" ", "B"]


def test_samples_leave_the_prompt_as_it_was() -> None:
    assert pieces(tokenized("""
        %0 = prompt.start() : prompt
        %y, %1 = prompt.generate(%0) {output = "y", n = 2} : list<text>, prompt
        %2 = prompt.append(%1, "A") : prompt
        %z, %3 = prompt.generate(%0) {output = "z"} : text, prompt
        %4 = prompt.append(%3, "B") : prompt""")) == [" A", "B"]


def test_what_is_not_known_stays_text() -> None:
    """Branches that agree are known, a carried prompt that grows is not, nor is one from outside."""
    body = """
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, "A") : prompt
        %2 = flow.if(%c) { flow.yield(%0) } else { flow.yield(%1) } : prompt
        %3 = prompt.append(%2, "either") {space = true} : prompt
        %4 = flow.if(%c) {
          %5 = prompt.append(%1, "C") : prompt
          flow.yield(%5)
        } else { flow.yield(%1) } : prompt
        %6 = prompt.append(%4, "later") : prompt
        %7 = flow.fold(%xs, %0) |%i: int, %x: text, %p: prompt| {
          %8 = prompt.append(%p, "turn") : prompt
          flow.yield(%8)
        } : prompt
        %9 = prompt.append(%h, "given") : prompt"""
    assert pieces(tokenized(body)) == [" A", "either", "C", "later", "turn", "given"]
    late = [op for op in walk(tokenized(body).ops) if op.name == "prompt.append" and isinstance(op.args[1], str)]
    assert [op.args[1] for op in late] == ["either", "turn", "given"]
    assert late[0].attributes == {"space": True}
    # Without a dummy prefix it does not matter which piece is the first.
    plain = Target({"": ModelTarget(Sentences(has_dummy_prefix=False))})
    assert pieces(tokenized(body, plain)) == ["A", " either", "C", "later", "turn", "given"]
    assert all(isinstance(op.args[1], TokenList) for op in appends(tokenized(body, plain)))


def appends(module: Module) -> list[Op]:
    return [op for op in walk(module.ops) if op.name == "prompt.append"]


def test_roles_become_scaffolds() -> None:
    module = tokenized("""
        %0 = prompt.start() : prompt
        %1 = prompt.role(%0) {role = system} : prompt
        %2 = prompt.append(%1, "S") : prompt
        %3 = prompt.role(%2) {role = user} : prompt""")
    assert [op.args[1] for op in appends(module)] == [
        TokenList((0, *b"0s"), "0s", True), TokenList(tuple(b"S"), "S"), TokenList((0, *b"1u"), "1u", True)]
    assert not any(op.attributes for op in appends(module))


def test_late_roles_remember_the_early_ones() -> None:
    module = tokenized("""
        %0 = prompt.start() : prompt
        %1 = prompt.role(%0) {role = system} : prompt
        %2 = flow.fold(%xs, %1) |%i: int, %x: text, %p: prompt| {
          %3 = prompt.role(%p) {role = user} : prompt
          %4 = prompt.append(%3, "U") : prompt
          flow.yield(%4)
        } : prompt""")
    assert pieces(module) == ["\x000s", "prompt.role", "U"]
    assert appends(module)[0].attributes == {"role": Word("system")}


def test_a_template_that_cannot() -> None:
    with pytest.raises(InputError, match=r"test.sir:4:.*user twice"):
        tokenized("""%0 = prompt.start() : prompt
        %1 = prompt.role(%0) {role = user} : prompt
        %2 = prompt.role(%1) {role = user} : prompt""")


def test_a_model_without_tokenizer() -> None:
    body = '%0 = prompt.start() {model = "other"} : prompt %1 = prompt.append(%0, "A") : prompt'
    with pytest.raises(InputError, match="`other` has no tokenizer"):
        tokenized(body, Target({"": ModelTarget(Sentences()), "other": ModelTarget()}))
    tokenized("%u = flow.pure(@upper, %a) : text", Target())


def test_each_model_has_its_tokenizer() -> None:
    target = Target({"": ModelTarget(Sentences()), "plain": ModelTarget(Sentences(False, "plain"))})
    body = """
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, "A") : prompt
        %2 = prompt.start() {model = "plain"} : prompt
        %3 = prompt.append(%2, "B") : prompt
        %4 = flow.if(%c) { flow.yield(%1) } else { flow.yield(%3) } : prompt
        %5 = prompt.append(%4, "C") : prompt"""
    assert pieces(tokenized(body, target)) == [" A", "B", "C"]
    assert isinstance(appends(tokenized(body, target))[-1].args[1], str)


def test_a_long_prompt_is_encoded_once() -> None:
    """Equal constants share one encoding."""
    module = tokenized("\n".join(
        f'%p{n} = prompt.start() : prompt\n%q{n} = prompt.append(%p{n}, "same") : prompt' for n in range(50)))
    assert len({id(op.args[1]) for op in appends(module)}) == 1


def test_lowering_keeps_roles() -> None:
    module = tokenized("""
        %0 = prompt.start() : prompt
        %1 = prompt.role(%0) {role = system} : prompt
        %2 = prompt.append(%1, "S") : prompt
        %3 = flow.fold(%xs, %2) |%i: int, %x: text, %p: prompt| {
          %4 = prompt.role(%p) {role = user} : prompt
          flow.yield(%4)
        } : prompt""")
    run_pipeline(module, parse_pipeline("lower-engine"), Target())
    fills = [op for op in walk(module.ops) if op.name == "engine.fill"]
    assert fills[0].attributes["roles"] == (Word("system"),)
    assert fills[1].args[1] == Word("role", (Word("user"),))
