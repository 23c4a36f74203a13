"""Each pass does to the examples of its docstring what the docstring says."""

import importlib.util
from pathlib import Path

import pytest
from byte_tokenizer import ByteTokenizer
from semlang.ir.core import Module, walk
from semlang.ir.parser import parse_module
from semlang.ir.printer import print_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.ir.verifier import verify
from semlang.passes.reference import examples, reference
from semlang.passes.registry import PASSES, pass_class

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
