"""The names that each file sees: its own, and those of the files that it uses, mixed in or behind an alias."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..ir.diagnostics import Diagnostics, Label
from ..ir.source import Span
from . import ast
from .declarations import declare_names, resolve_record_types, resolve_signatures
from .loader import LoadedProgram, ResolvedUse
from .symbols import FileScope, ModelSymbol, Symbol


def link(program: LoadedProgram, diagnostics: Diagnostics) -> dict[str, FileScope]:
    """The scope of each file by path, in dependency order, with all signatures resolved."""
    scopes = {f.source.path: FileScope(f.source.path, os.path.dirname(f.source.path)) for f in program.files}
    taken: set[str] = set()
    # The main file first: its names stay as they are in the module.
    for file in (program.main, *(f for f in program.files if f is not program.main)):
        declare_names(file, scopes[file.source.path], diagnostics, taken)
    for path, uses in program.uses.items():
        _use_files(scopes[path], uses, scopes, diagnostics)
    for scope in scopes.values():
        resolve_record_types(scope, diagnostics)
        resolve_signatures(scope, diagnostics)
    return scopes


def _use_files(scope: FileScope, uses: Sequence[ResolvedUse], scopes: dict[str, FileScope],
               diagnostics: Diagnostics) -> None:
    from_where: dict[Symbol, ast.Use] = {}
    for use in uses:
        used = scopes[use.file.source.path]
        if use.alias is not None:
            if use.alias in scope.aliases or use.alias in scope.names:
                diagnostics.error("E0209", f"the name `{use.alias}` is taken", use.declaration.span,
                                  fix="use the file under another name")
            else:
                scope.aliases[use.alias] = used
            continue
        for symbol in used.own:
            _mix_in(scope, symbol, use, from_where, diagnostics)


def _mix_in(scope: FileScope, symbol: Symbol, use: ResolvedUse, from_where: dict[Symbol, ast.Use],
            diagnostics: Diagnostics) -> None:
    earlier: Symbol | None
    if isinstance(symbol, ModelSymbol):
        earlier = scope.models.setdefault(symbol.name, symbol)
    else:
        earlier = scope.names.setdefault(symbol.name, symbol)
    from_where.setdefault(symbol, use.declaration)
    if earlier is symbol:
        return
    span: Span = use.declaration.span
    where = f"`{from_where[earlier].path}`" if earlier in from_where else "this file"
    alias = os.path.splitext(os.path.basename(use.declaration.path))[0]
    diagnostics.error("E0209", f"`{symbol.name}` is declared in `{use.declaration.path}` and in {where}", span,
                      labels=[Label(earlier.span, "declared here"), Label(symbol.span, "and here")],
                      fix=f'keep the names apart: `use "{use.declaration.path}" as {alias}`')
