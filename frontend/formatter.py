"""`semc fmt`: a file in its one canonical layout.

Comments stay at their tokens, prompts and texts stay byte for byte, one empty line stays where there were some. A body
whose `{` ends its line stays open; another is written on one line if it fits. A list with a trailing comma has one
element a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile
from .concrete_tree import (
    CLOSING,
    ConcreteNode,
    Tree,
    first_token,
    is_token,
    last_token,
    needs_space,
    split_at_commas,
)
from .declaration_split import split_declarations
from .document import (
    BLANK_LINE,
    EMPTY,
    FRESH_LINE,
    LINE,
    SOFT_LINE,
    Document,
    concat,
    group,
    indent,
    join,
    print_document,
    text,
    trailing_comment,
    when_broken,
)
from .lalr_parser import LalrParser
from .layout import lay_out
from .lexer import Lexer
from .parser import parse_source
from .tokens import Token
from .trivia import Trivia, attach_trivia

LINE_WIDTH = 120
_SPACE = text(" ")

_LISTS = frozenset(("parameters", "arguments", "names", "types", "host_options", "named_bounds", "outputs"))
"""Rules that are nothing but elements and commas, inside brackets of their parent."""
_BRACED = {"enum_members": True, "fields": True, "arms": True, "prompt_parts": False}
"""Rules inside braces, one element a line: whether commas separate the elements."""
_NO_TRAILING_COMMA = frozenset(("parenthesised", "index", "returned", "range_bounds", "upper_bound"))


def format_source(source: SourceFile, diagnostics: Diagnostics) -> str | None:
    """The file in canonical layout; None if it has syntax errors, which are reported."""
    if parse_source(source, diagnostics) is None:
        return None
    ignored = Diagnostics()
    lexer = Lexer(source, ignored)
    lexer.run()
    trivia, final = attach_trivia(source.text, lexer.tokens, lexer.comments)
    formatter = _Formatter(source.text, trivia)
    items: list[Tree] = []
    for tokens in split_declarations(lexer.tokens, source.text):
        chunk = lay_out(tokens, source, ignored, "")
        items.append(LalrParser(source, ignored, chunk, is_concrete=True).parse("declaration"))
    body = formatter.lines(items)
    return print_document(concat(body, formatter.own_line_comments(final, not items)), LINE_WIDTH)


_LEVELS = {"or": 1, "and": 2, "??": 3, "+": 4, "-": 4}


def _level(node: ConcreteNode) -> int:
    operator = node.children[1]
    return _LEVELS.get(operator.kind, 5) if isinstance(operator, Token) else 0


class _Formatter:
    """Makes documents of concrete trees."""

    def __init__(self, source_text: str, trivia: dict[int, Trivia]) -> None:
        self.source_text = source_text
        self.trivia = trivia
        self.placed: set[int] = set()  # offsets of tokens whose comments before them are in a document
        self.rules: dict[str, Callable[[ConcreteNode], Document]] = {
            "block": lambda node: group(self.block(node)), "if_else": self.if_chain, "if_only": self.if_chain,
            "binary": self.binary, "compare": self.binary, "unary": self.unary, "negative_pattern": self.tight,
            "dotted_name": self.tight, "field_access": self.tight, "name_pattern": self.tight, "slice_expr": self.tight,
            "range_bounds": self.tight, "upper_bound": self.tight, "empty_map": self.tight, "text": self.raw,
            "comprehension": self.comprehension, "with_options": self.with_options, "try_else": self.try_else,
            "return_values": self.given_values, "yield_values": self.given_values, "values": self.given_values,
        }

    # ---- tokens and comments

    def token(self, token: Token) -> Document:
        """A token with the comments at it, unless those before it are placed already."""
        trivia = self.trivia[token.start]
        shown = text(self.source_text[token.start:token.end])
        comment = EMPTY if trivia.trailing is None else trailing_comment(trivia.trailing)
        return concat(self.comments_before(token), shown, comment)

    def comments_before(self, token: Token, is_first: bool = True) -> Document:
        """Place the own-line comments before a token; `is_first` if what stands before is kept apart already."""
        trivia = self.trivia[token.start]
        if not trivia.leading or token.start in self.placed:
            return EMPTY
        self.placed.add(token.start)
        comments = self.own_line_comments(trivia, is_first)
        return concat(comments, BLANK_LINE) if trivia.blank_before and is_first else comments

    def own_line_comments(self, trivia: Trivia, is_first: bool) -> Document:
        """Comments, each on its line, with the empty lines between them."""
        parts: list[Document] = []
        for number, (comment, is_blank) in enumerate(trivia.leading):
            parts.append(BLANK_LINE if is_blank and not (is_first and number == 0) else FRESH_LINE)
            parts += [text(comment), FRESH_LINE]
        return concat(*parts)

    def show(self, tree: Tree) -> Document:
        """The document of any part of the tree; comments before it stand outside of its groups."""
        comments = self.comments_before(first_token(tree))
        if isinstance(tree, Token):
            return concat(comments, self.token(tree))
        return concat(comments, self.rules.get(tree.name, self.sequence)(tree))

    def lines(self, items: Sequence[Tree]) -> Document:
        """Items on lines of their own, with the empty lines that stand between them."""
        parts: list[Document] = []
        for item in items:
            if parts:
                trivia = self.trivia[first_token(item).start]
                parts.append(BLANK_LINE if trivia.starts_after_blank else FRESH_LINE)
            parts.append(self.show(item))
        return concat(*parts)

    # ---- sequences and brackets

    def sequence(self, node: ConcreteNode) -> Document:
        """The children in order, with the spaces and brackets that their kinds ask for."""
        parts: list[Document] = []
        children = node.children
        position = 0
        while position < len(children):
            child = children[position]
            before = children[position - 1] if position else None
            if before is not None and needs_space(before, child):
                parts.append(_SPACE)
            if isinstance(child, Token) and child.kind in CLOSING:
                closing = CLOSING[child.kind]
                close = next(i for i in range(position + 1, len(children)) if is_token(children[i], closing))
                parts.append(self.brackets(children[position:close + 1], node.name))
                position = close
            else:
                parts.append(self.show(child))
            position += 1
        return concat(*parts)

    def brackets(self, children: Sequence[Tree], owner: str) -> Document:
        """`( … )`, `[ … ]` or `{ … }` around elements; the first and last child are the brackets."""
        opening, *inner, closing = children
        assert isinstance(opening, Token) and isinstance(closing, Token)
        if opening.kind == "{":
            return group(self.braces(children))
        if len(inner) == 1 and isinstance(inner[0], ConcreteNode) and inner[0].name in _LISTS:
            owner, inner = inner[0].name, inner[0].children
        elements, has_trailing_comma = split_at_commas(inner)
        takes_comma = owner not in _NO_TRAILING_COMMA
        is_single = owner == "tuple_expr" and len(elements) == 1
        last = inner[-1] if has_trailing_comma else None
        parts: list[Document] = []
        for number, (element, comma) in enumerate(elements):
            shown = self.sequence(ConcreteNode("element", element)) if len(element) > 1 else self.show(element[0])
            is_last = number + 1 == len(elements)
            if comma is None:
                mark = when_broken(",") if takes_comma else EMPTY
            elif is_last and not is_single:
                mark = concat(when_broken(","), self._comments_of(comma))
            else:
                mark = self.token(comma)
            parts += [shown, mark, EMPTY if is_last else LINE]
        if not elements:
            return concat(self.token(opening), self.token(closing))
        is_open = last is not None and takes_comma and not is_single
        return group(
            self.token(opening), indent(FRESH_LINE if is_open else SOFT_LINE, *parts,
                                        self.comments_before(closing, is_first=False)),
            SOFT_LINE, self.token(closing))

    def _comments_of(self, token: Token) -> Document:
        """The comments at a token that is itself left out."""
        trivia = self.trivia[token.start]
        comments = [comment for comment, _ in trivia.leading]
        comments += [trivia.trailing] if trivia.trailing is not None else []
        return concat(*map(trailing_comment, comments))

    def tight(self, node: ConcreteNode) -> Document:
        """The children without space."""
        return concat(*map(self.show, node.children))

    def raw(self, node: ConcreteNode) -> Document:
        """A text with its interpolations, as it was written."""
        first, last = first_token(node), last_token(node)
        comment = self.trivia[last.start].trailing
        shown = text(self.source_text[first.start:last.end])
        return shown if comment is None else concat(shown, trailing_comment(comment))

    # ---- bodies in braces

    def braces(self, children: Sequence[Tree]) -> Document:
        """`{ … }` around members, fields, arms or prompt parts."""
        opening, *inner, closing = children
        assert isinstance(opening, Token) and isinstance(closing, Token)
        has_commas = True
        if len(inner) == 1 and isinstance(inner[0], ConcreteNode) and inner[0].name in _BRACED:
            has_commas, inner = _BRACED[inner[0].name], inner[0].children
        items = [child for child in inner if not is_token(child, ",", "_NL")]
        commas = {id(inner[i - 1]): child for i, child in enumerate(inner) if is_token(child, ",")}
        parts: list[Document] = []
        for number, item in enumerate(items):
            if number:
                blank = self.trivia[first_token(item).start].starts_after_blank
                parts.append(BLANK_LINE if blank else LINE)
            parts.append(self.show(item))
            if has_commas:
                comma = commas.get(id(item))
                parts.append(text(",") if number + 1 < len(items) else when_broken(","))
                parts.append(self._comments_of(comma) if isinstance(comma, Token) else EMPTY)
        is_open = self._ends_line(opening) or (not has_commas and len(items) > 1)
        return self._body(opening, parts, closing, is_open)

    def block(self, node: ConcreteNode) -> Document:
        """`{ … }` around statements; its lines belong to the group around it."""
        opening, *inner, closing = node.children
        assert isinstance(opening, Token) and isinstance(closing, Token)
        statements = [child for child in inner if not is_token(child, "_NL")]
        is_open = self._ends_line(opening) or len(statements) > 1
        return self._body(opening, [self.lines(statements)] if statements else [], closing, is_open)

    def _body(self, opening: Token, parts: list[Document], closing: Token, is_open: bool) -> Document:
        comments = self.comments_before(closing, is_first=False)
        if not parts and comments.is_empty:
            return concat(self.token(opening), self.token(closing))
        first = FRESH_LINE if is_open and parts else LINE
        return concat(self.token(opening), indent(first, *parts, comments), LINE,
                      self.token(closing))

    def _ends_line(self, token: Token) -> bool:
        """Whether only space or a comment follows on the token's line."""
        return re.compile(r"[ \t\r\f]*(#|\n|$)").match(self.source_text, token.end) is not None

    # ---- expressions

    def if_chain(self, node: ConcreteNode) -> Document:
        """`if … { } else if … { } else { }`: all bodies on one line, or none."""
        parts: list[Document] = []
        rest: list[Tree] = list(node.children)
        while rest:
            child = rest.pop(0)
            if isinstance(child, ConcreteNode) and child.name in ("if_else", "if_only"):
                rest = list(child.children)
                continue
            if parts:
                parts.append(_SPACE)
            is_block = isinstance(child, ConcreteNode) and child.name == "block" and len(parts) > 3
            parts.append(self.block(child) if is_block and isinstance(child, ConcreteNode) else self.show(child))
        return group(*parts)

    def binary(self, node: ConcreteNode) -> Document:
        """Operands of one level of precedence; lines break behind operators, where they cannot end a statement."""
        operands: list[tuple[Tree, Token | None]] = []
        current: Tree = node
        level = _level(node)
        following: Token | None = None
        while isinstance(current, ConcreteNode) and current.name == node.name and _level(current) == level:
            left, operator, right = current.children
            assert isinstance(operator, Token)
            operands.append((right, following))
            current, following = left, operator
        operands.append((current, following))
        operands.reverse()
        (first, operator_behind), *rest = operands
        parts = [self.show(first)]
        tail: list[Document] = []
        for operand, operator_after in rest:
            assert operator_behind is not None
            tail += [_SPACE, self.token(operator_behind), LINE, self.show(operand)]
            operator_behind = operator_after
        return group(*parts, indent(*tail))

    def unary(self, node: ConcreteNode) -> Document:
        is_word = is_token(node.children[0], "not")
        return join(_SPACE, map(self.show, node.children)) if is_word else self.tight(node)

    def comprehension(self, node: ConcreteNode) -> Document:
        """`[e for x in xs if c]`, broken before `for` and `if`."""
        opening, *inner, closing = node.children
        assert isinstance(opening, Token) and isinstance(closing, Token)
        parts: list[Document] = []
        for child in inner:
            if parts:
                parts.append(LINE if is_token(child, "for", "if") else _SPACE)
            parts.append(self.show(child))
        comments = self.comments_before(closing, is_first=False)
        return group(self.token(opening), indent(SOFT_LINE, *parts, comments), SOFT_LINE, self.token(closing))

    def with_options(self, node: ConcreteNode) -> Document:
        """`f(x) with a = 1, b = 2`."""
        call, word, *options = node.children
        shown = [concat(self.show(child), LINE if is_token(child, "_OPTION_COMMA") else EMPTY) for child in options]
        return group(self.show(call), indent(LINE, self.show(word), _SPACE, *shown))

    def try_else(self, node: ConcreteNode) -> Document:
        word, body, otherwise, value = map(self.show, node.children)
        return group(word, _SPACE, body, indent(LINE, otherwise, _SPACE, value))

    def given_values(self, node: ConcreteNode) -> Document:
        """`return a, b`, `yield a, b` or `a, b`; a comma at the end is left out."""
        children = list(node.children)
        parts: list[Document] = []
        if isinstance(children[0], Token) and children[0].kind in ("return", "yield"):
            parts += [self.show(children.pop(0)), _SPACE]
        for number, child in enumerate(children):
            if not is_token(child, ","):
                shown = self.show(child)
                parts.append(indent(LINE, shown) if number else shown)
            elif isinstance(child, Token):
                parts.append(self.show(child) if number + 1 < len(children) else self._comments_of(child))
        return group(*parts)
