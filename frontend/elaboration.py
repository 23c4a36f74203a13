"""Which function elaborates each class of expression. Importing this module makes `Body` complete."""

from __future__ import annotations

from . import ast
from .body import Body
from .calls import call
from .containers import index, list_expression, map_expression, slice, tuple_expression
from .control_flow import block, if_else, try_else
from .literals import literal, text
from .loops import comprehension, fold, for_each, loop
from .matching import match
from .names import field_access, name
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
