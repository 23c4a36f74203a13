"""`match`: patterns, exhaustiveness, and its lowering to a tree of `flow.if`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..ir.core import Literal, Value
from ..ir.source import Span
from ..ir.types import BOOL, Bool, Enum, Float, Int, List, Option, Text, Type, strip_bounds
from . import ast
from .body import Body
from .branches import Producer, branch
from .inference import Unknown, describe
from .names import static_symbol
from .symbols import EnumSymbol
from .terms import Term, poison

_LINEAR = 6
"""Up to this many arms are tested one after the other; more are halved, so that depth grows with the logarithm."""


@dataclass
class _Arm:
    """An arm and the constants that it is for; None stands for `none`."""

    node: ast.MatchArm
    constants: list[Literal] = field(default_factory=list)


def match(body: Body, node: ast.Match, expected: Type | None) -> Term:
    """`match e { … }`: the arm of the first pattern that is equal to `e`."""
    subject = body.operand(node.subject)
    if isinstance(subject.type, Unknown):
        for arm in node.arms:
            with body.new_scope():
                body.expression(arm.value, expected)
        return poison()
    checked = _PatternChecker(body, node, subject.type).check()
    if checked is None:
        return poison()
    return _Lowering(body, node, subject).choose(checked, expected)


class _PatternChecker:
    """Sorts the patterns of a match: constants by arm, what is missing, what cannot be reached."""

    def __init__(self, body: Body, node: ast.Match, type: Type) -> None:
        self.body = body
        self.node = node
        self.type = type
        self.element = type.element if isinstance(type, Option) else type
        self.seen: set[Literal] = set()
        self.is_total = False
        self.failed = False

    def check(self) -> list[_Arm] | None:
        """The reachable arms; None after an error. The last one takes everything that is left."""
        if not isinstance(self.element, Enum | Bool | Int | Float | Text):
            if isinstance(self.type, Option):
                pass
            else:
                self.body.error("E0603", f"`match` needs an enum, bool, number, text or option, not "
                                f"{describe(self.type)}", self.node.subject.span)
                return None
        arms = []
        for node in self.node.arms:
            arm = _Arm(node)
            reachable = False
            for pattern in node.patterns:
                reachable |= self._add(pattern, arm)
            if reachable or self.failed:
                arms.append(arm)
            else:
                self.body.diagnostics.warning("W0104", "this arm is never reached", node.span,
                                              "the arms before cover it")
        self._report_missing()
        return None if self.failed or not arms else arms

    def _add(self, pattern: ast.Expr, arm: _Arm) -> bool:
        """Whether the pattern adds anything to what the arms before cover."""
        if self._covers_all():
            return False
        if isinstance(pattern, ast.Name) and pattern.name == "_":
            self.is_total = True
            return True
        known, constant = self._constant(pattern)
        if not known:
            return True
        if constant in self.seen:
            return False
        self.seen.add(constant)
        arm.constants.append(constant)
        return True

    def _constant(self, pattern: ast.Expr) -> tuple[bool, Literal]:
        """Whether the pattern is a constant of the subject's type, and which; reports what is not."""
        match pattern, self.element:
            case ast.Literal(value=None), _ if isinstance(self.type, Option):
                return True, None
            case ast.FieldAccess(base=base, name=name), Enum(enum) if not self._names_enum(base):
                self._wrong(pattern, f"this pattern is no member of `{enum}`", "E0603", f"write `{enum}.…`, or the "
                            "member alone")
            case (ast.Name(name=name) | ast.FieldAccess(name=name)), Enum(enum, members):
                if any(m.name == name for m in members):
                    return True, name
                names = [m.name for m in members]
                fix = self.body.suggestion(name, names) or "its members are " + ", ".join(f"`{n}`" for n in names[:8])
                self._wrong(pattern, f"`{enum}` has no member `{name}`", "E0210", fix)
            case ast.Literal(value=bool(value)), Bool():
                return True, value
            case ast.Literal(value=int(value)), Int() if not isinstance(value, bool):
                return True, value
            case ast.Literal(value=int(value) | float(value)), Float() if not isinstance(value, bool):
                return True, float(value)
            case ast.TextExpr(parts=parts), Text() if all(isinstance(p, str) for p in parts):
                return True, "".join(p for p in parts if isinstance(p, str))
            case ast.Literal(value=None), _:
                self._wrong(pattern, f"{describe(self.type)} is never none", "E0603", None)
            case ast.Name(name=name), _:
                self._wrong(pattern, f"`{name}` is not a constant", "E0603",
                            "a pattern is a constant, an enum member or `_`; it binds no variable")
            case ast.TextExpr(), Text():
                self._wrong(pattern, "a pattern holds no `${…}`", "E0603", "compare with `==` in an `if`")
            case _:
                kind = {Enum: "a member", Bool: "`true` or `false`", Text: "a text"}.get(type(self.element), "a number")
                self._wrong(pattern, f"this pattern cannot be equal to {describe(self.type)}", "E0603",
                            f"write {kind}, or `_` for everything else")
        return False, None

    def _names_enum(self, node: ast.Expr) -> bool:
        """Whether `node` is the name of the subject's enum."""
        symbol = static_symbol(self.body, node)
        return isinstance(symbol, EnumSymbol) and symbol.type == self.element

    def _wrong(self, pattern: ast.Expr, message: str, code: str, fix: str | None) -> None:
        self.failed = True
        self.body.error(code, message, pattern.span, fix=fix)

    def _universe(self) -> list[Literal] | None:
        """All values of the subject, or None when they cannot be counted."""
        match self.element:
            case Enum(_, members):
                values: list[Literal] = [m.name for m in members]
            case Bool():
                values = [True, False]
            case _:
                return None
        return [*values, None] if isinstance(self.type, Option) else values

    def _covers_all(self) -> bool:
        universe = self._universe()
        return self.is_total or (universe is not None and self.seen.issuperset(universe))

    def _report_missing(self) -> None:
        if self._covers_all() or self.failed:
            return
        self.failed = True
        shown = [_shown(v) for v in self._universe() or () if v not in self.seen]
        if self._universe() is None:
            shown = ["_"]
        listed = ", ".join(f"`{s}`" for s in shown[:6]) + (" …" if len(shown) > 6 else "")
        if shown == ["_"]:
            listed = f"every {describe(self.type)}"
        fix = "add `" + ", ".join(f"{s} => …" for s in shown[:6]) + "`"
        self.body.error("E0602", f"this `match` does not cover {listed}", self.node.span,
                        f"{len(shown)} missing" if len(shown) > 1 else "not exhaustive", fix=fix)


def _shown(constant: Literal) -> str:
    return constant if isinstance(constant, str) else "none" if constant is None else str(constant).lower()


class _Lowering:
    """Writes the tests of a match."""

    def __init__(self, body: Body, node: ast.Match, subject: Term) -> None:
        self.body = body
        self.node = node
        self.type = strip_bounds(subject.type)
        self.subject = body.value(subject, node.subject.span)

    def choose(self, arms: Sequence[_Arm], expected: Type | None) -> Term:
        """The value of the first of `arms` that matches; the last takes all that is left."""
        if len(arms) == 1:
            return self._value(arms[0], expected)
        count = 1 if len(arms) <= _LINEAR else len(arms) // 2
        first, rest = arms[:count], arms[count:]
        span = first[0].node.span
        condition = self._test([c for arm in first for c in arm.constants], span)
        has_value = isinstance(self.type, Option)
        some = [self.node.subject]
        return branch(
            self.body, condition, self.node.span,
            self._chosen(first), self._chosen(rest), expected=expected,
            known=some if has_value and all(None not in arm.constants for arm in first) else (),
            otherwise_known=some if has_value and any(None in arm.constants for arm in first) else (),
            spans=(first[-1].node.value.span, rest[0].node.value.span),
        )

    def _chosen(self, arms: Sequence[_Arm]) -> Producer:
        return lambda hint: self.choose(arms, hint)

    def _value(self, arm: _Arm, expected: Type | None) -> Term:
        with self.body.new_scope():
            return self.body.expression(arm.node.value, expected)

    def _test(self, constants: Sequence[Literal], span: Span) -> Value:
        """Whether the subject is one of `constants`."""
        builder = self.body.builder
        if len(constants) == 1:
            if constants[0] is None:
                some = builder.pure("is_some", [self.subject], BOOL, span)
                return builder.pure("not", [some], BOOL, span)
            if isinstance(self.type, Bool):
                return self.subject if constants[0] is True else builder.pure("not", [self.subject], BOOL, span)
            return builder.pure("eq", [self.subject, self._constant(constants[0], span)], BOOL, span)
        values = [self._constant(c, span) for c in constants]
        listed = builder.pure("list", values, List(self.type), span)
        return builder.pure("in", [self.subject, listed], BOOL, span)

    def _constant(self, constant: Literal, span: Span) -> Value:
        builder = self.body.builder
        if not isinstance(self.type, Option) or constant is None:
            return builder.const(constant, self.type, span)
        value = builder.const(constant, self.type.element, span)
        return builder.pure("some", [value], self.type, span)
