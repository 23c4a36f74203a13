"""Source text to syntax tree: the entry points `parse_source` and `parse_file`."""

from __future__ import annotations

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile
from . import ast
from .declaration_split import split_declarations
from .lalr_parser import LalrParser
from .layout import lay_out
from .lexer import Lexer
from .source_reader import read_source
from .template import parse_template


def parse_file(path: str, diagnostics: Diagnostics) -> ast.File | None:
    """Read and parse the file at `path` (`-` is standard input); None if it has errors, which are reported."""
    source = read_source(path, diagnostics)
    return None if source is None else parse_source(source, diagnostics)


def parse_source(source: SourceFile, diagnostics: Diagnostics) -> ast.File | None:
    """The syntax tree of a file; None if it has syntax errors, all of which are reported."""
    found = Diagnostics()
    lexer = Lexer(source, found)
    lexer.run()
    for token in lexer.tokens:
        if token.kind == "PROMPT":
            token.value = parse_template(source, found, token)
    declarations = []
    groups = split_declarations(lexer.tokens, source.text)
    for number, tokens in enumerate(groups):
        is_last = number + 1 == len(groups)
        chunk = lay_out(tokens, source, found, "the end of the file" if is_last else f"`{groups[number + 1][0].text}`")
        declaration = LalrParser(source, found, chunk).parse("declaration")
        if declaration is not None:
            declarations.append(declaration)
    diagnostics.items += sorted(found, key=lambda d: d.primary.span.start if d.primary else 0)
    if found.has_errors:
        return None
    return ast.File(source, tuple(declarations), tuple(lexer.comments))
