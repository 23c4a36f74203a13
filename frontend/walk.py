"""All nodes below a node of the syntax tree, in source order, without recursion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

from . import ast

_FIELDS: dict[type, tuple[str, ...]] = {}


def nodes(root: ast.Node | Iterable[ast.Node]) -> Iterator[ast.Node]:
    """`root` and every node below it."""
    stack: list[object] = []
    if isinstance(root, ast.Node):
        stack.append(root)
    else:
        stack.extend([*root][::-1])
    while stack:
        item = stack.pop()
        if isinstance(item, ast.Node):
            yield item
            kind = type(item)
            names = _FIELDS.get(kind)
            if names is None:
                names = _FIELDS[kind] = tuple(f.name for f in reversed(fields(item)) if f.name != "span")
            for name in names:
                value = getattr(item, name)
                if isinstance(value, ast.Node | tuple):
                    stack.append(value)
        elif isinstance(item, tuple):
            stack.extend(reversed(item))
