"""What a run begins with: a source file, or IR text that was printed at any level."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from ..ir.definition import Level
from .models import declared_models
from .options import read_source

if TYPE_CHECKING:
    from ..frontend.compile import CompiledUnit
    from ..ir.core import Module
    from ..passes.base import Pass

IR_SUFFIX = ".sir"


def load_unit(path: str, program: str | None) -> CompiledUnit:
    """The program in a file, checked (`.sem`) or verified (`.sir`). Raises InputError."""
    from ..frontend.compile import CompiledUnit, compile_file

    if PurePath(path).suffix != IR_SUFFIX:
        return compile_file(path, program=program)
    from ..ir.parser import parse_module
    from ..ir.verifier import verify_input
    from ..passes.root_program import root_program

    source = read_source(path)
    module = parse_module(source)
    verify_input(module, source)
    root = root_program(module, program or "").symbol
    programs = tuple(op.symbol for op in module.ops if op.name == "sem.program")
    return CompiledUnit(module, root, [], programs, declared_models(module), (source,))


def remaining_passes(module: Module, root: str, level: int, allow: Collection[str] = ()) -> list[Pass]:
    """The passes of `-O{level}` that `module` has still before it; `allow`: see `passes.pipelines.pipeline`."""
    from ..ir.levels import levels_of
    from ..passes.inline import Inline
    from ..passes.pipelines import pipeline

    levels = levels_of(module)
    if not levels & {Level.SEM, Level.PROMPT}:
        return []
    passes = pipeline(level, allow)
    return [replace(p, program=root) if isinstance(p, Inline) else p for p in passes
            if Level.SEM in levels or not isinstance(p, Inline)]
