"""Which function elaborates each class of expression. Importing this module makes `Body` complete."""

from __future__ import annotations

from . import ast
from .body import Body
from .calls import call
from .control_flow import block, if_else, try_else
from .expressions import (
    field_access,
    index,
    list_expression,
    literal,
    map_expression,
    name,
    slice,
    text,
    tuple_expression,
)
from .loops import comprehension, fold, for_each, loop
from .matching import match
from .operators import binary, unary
from .statements import statement

Body.handlers = {
    ast.Literal: literal,
    ast.TextExpr: text,
    ast.Name: name,
    ast.FieldAccess: field_access,
    ast.Index: index,
    ast.Slice: slice,
    ast.Call: call,
    ast.ListExpr: list_expression,
    ast.MapExpr: map_expression,
    ast.TupleExpr: tuple_expression,
    ast.Unary: unary,
    ast.Binary: binary,
    ast.Block: block,
    ast.If: if_else,
    ast.Match: match,
    ast.Try: try_else,
    ast.For: for_each,
    ast.Comprehension: comprehension,
    ast.Fold: fold,
    ast.Loop: loop,
}
Body.statement_handler = statement
