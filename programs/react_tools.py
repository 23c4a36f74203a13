"""The tools of react.sem: a small encyclopedia and a calculator."""

import ast
import operator
from collections.abc import Callable

FACTS = {
    "everest": "Mount Everest is 8849 metres high.",
    "kilimanjaro": "Kilimanjaro is 5895 metres high.",
    "nile": "The Nile is 6650 kilometres long.",
    "danube": "The Danube is 2850 kilometres long.",
}

OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def search(query: str) -> str:
    """Sentences about every subject that the query names."""
    found = [fact for subject, fact in FACTS.items() if subject in query.lower()]
    return " ".join(found) or f"Nothing is known about {query!r}."


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, or why there is none."""
    try:
        return f"{evaluate(ast.parse(expression.strip(), mode='eval').body):g}"
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError) as error:
        return f"{expression!r} cannot be computed: {error}"


def evaluate(node: ast.expr) -> float:
    """The value of a parsed expression of numbers and + - * /; ValueError for anything else."""
    match node:
        case ast.Constant(int() | float() as number):
            return number
        case ast.BinOp(left, operation, right) if type(operation) in OPERATORS:
            return OPERATORS[type(operation)](evaluate(left), evaluate(right))
        case ast.UnaryOp(ast.USub(), operand):
            return -evaluate(operand)
    raise ValueError("only numbers and + - * / are allowed")
