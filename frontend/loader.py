"""A file and all files that it uses, each parsed once, those used before those that use them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..ir.diagnostics import Diagnostics
from . import ast
from .parser import parse_source
from .source_reader import Read, read_bytes, read_source


@dataclass(frozen=True)
class ResolvedUse:
    """A `use` and the file that it names; `alias` keeps that file's names apart, None mixes them in."""

    declaration: ast.Use
    file: ast.File

    @property
    def alias(self) -> str | None:
        return self.declaration.alias


@dataclass(frozen=True)
class LoadedProgram:
    """`files` are in dependency order and end with `main`; `uses` are by the path of the using file's source."""

    main: ast.File
    files: tuple[ast.File, ...]
    uses: Mapping[str, tuple[ResolvedUse, ...]]


@dataclass
class _Open:
    """A file whose uses are being resolved."""

    file: ast.File
    identity: str
    pending: Iterator[ast.Use]
    resolved: list[ResolvedUse] = field(default_factory=list)


def load(path: str, diagnostics: Diagnostics, read: Read = read_bytes) -> LoadedProgram | None:
    """Parse the file at `path` (`-` is standard input) and what it uses; None after errors, which are reported.

    A path in a `use` is relative to the folder of its file. Errors in one file do not hide those of the others.
    """
    return _Loader(diagnostics, read).load(path)


class _Loader:
    def __init__(self, diagnostics: Diagnostics, read: Read) -> None:
        self.diagnostics = diagnostics
        self.read = read
        self.parsed: dict[str, ast.File | None] = {}
        self.stack: list[_Open] = []
        self.files: list[ast.File] = []
        self.uses: dict[str, tuple[ResolvedUse, ...]] = {}

    def load(self, path: str) -> LoadedProgram | None:
        errors_before = sum(d.severity == "error" for d in self.diagnostics)
        main = self._parse(path, path if path == "-" or "\0" in path else os.path.realpath(path), None)
        while self.stack:
            top = self.stack[-1]
            use = next(top.pending, None)
            if use is not None:
                self._resolve(top, use)
            else:
                self.stack.pop()
                self.files.append(top.file)
                self.uses[top.file.source.path] = tuple(top.resolved)
        if main is None or sum(d.severity == "error" for d in self.diagnostics) > errors_before:
            return None
        return LoadedProgram(main, tuple(self.files), self.uses)

    def _parse(self, path: str, identity: str, use: ast.Use | None) -> ast.File | None:
        """Parse a file that is new and put it on the stack."""
        source = read_source(path, self.diagnostics, use.path_span if use else None, self.read)
        file = None if source is None else parse_source(source, self.diagnostics)
        self.parsed[identity] = file
        if file is not None:
            uses = [declaration for declaration in file.declarations if isinstance(declaration, ast.Use)]
            self.stack.append(_Open(file, identity, iter(uses)))
        return file

    def _resolve(self, user: _Open, use: ast.Use) -> None:
        folder = os.path.dirname(user.file.source.path)
        path = os.path.normpath(os.path.join(folder, use.path))
        identity = os.path.realpath(path) if "\0" not in path else path
        cycle = [opened.identity for opened in self.stack]
        if identity in cycle:
            names = [opened.file.source.path for opened in self.stack[cycle.index(identity):]]
            chain = " → ".join(f"`{name}`" for name in [*names, names[0]])
            message = "a file uses itself" if len(names) == 1 else "files use one another in a cycle"
            self.diagnostics.error("E0503", message, use.path_span, notes=[f"each uses the next: {chain}"],
                                   fix="move what both need into a file of its own")
            return
        file = self.parsed[identity] if identity in self.parsed else self._parse(path, identity, use)
        if file is not None:
            user.resolved.append(ResolvedUse(use, file))
