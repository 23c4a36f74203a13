"""Each pass does to the examples of its docstring what the docstring says."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pytest
from semlang.ir.core import Module, walk
from semlang.ir.parser import parse_module
from semlang.ir.printer import print_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.ir.verifier import verify
from semlang.passes.reference import examples, reference
from semlang.passes.registry import PASSES, pass_class


class ByteTokenizer:
    """One token for each UTF-8 byte; a chat template that writes `<role>` before each part."""

    vocabulary_size = 257
    eos_ids = frozenset({256})
    bos_id: int | None = None
    has_dummy_prefix = False
    longest_token_bytes = 1
    digest = "bytes"

    def encode_piece(self, text: str, *, first: bool) -> list[int]:
        return list(text.encode())

    def encode_scaffold(self, text: str) -> list[int]:
        return list(text.encode())

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id]) if token_id < 256 else b""

    def decode(self, token_ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, token_ids)).decode(errors="ignore")

    def role_scaffold(self, roles_so_far: tuple[str, ...], role: str) -> str:
        return f"<{role}>"


TARGET = Target({"": ModelTarget(ByteTokenizer(), 4096)}, "reference")


def parse(text: str, name: str) -> Module:
    module = parse_module(SourceFile(name, text))
    verify(module)
    return module


def anonymous(module: Module) -> str:
    """The text of a module in which every value is numbered."""
    for op in walk(module.ops):
        for value in (*op.results, *(p for region in op.regions for p in region.parameters)):
            value.name = ""
    return print_module(module)


@pytest.mark.parametrize("name", PASSES)
def test_examples_of(name: str) -> None:
    cls = pass_class(name)
    assert (cls.__doc__ or "").strip().partition("\n")[0].endswith("."), "the docstring opens with no sentence"
    assert examples(cls), "there is no ```before and ```after in the docstring"
    for number, example in enumerate(examples(cls), 1):
        module = parse(example.before, f"{name}-{number}-before.sir")
        expected = parse(example.after, f"{name}-{number}-after.sir")
        report = example.make(cls).run(module, TARGET)
        verify(module, cls.gives)
        assert anonymous(module) == anonymous(expected), f"example {number}"
        assert report.sentence


def test_the_reference_is_current() -> None:
    spec = importlib.util.find_spec("semlang")
    assert spec and spec.origin
    page = Path(spec.origin).parent / "docs" / "passes.md"
    assert page.read_text() == reference(), "run python -m semlang.passes.reference > docs/passes.md"
