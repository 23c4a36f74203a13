"""Which program of a module runs."""

from __future__ import annotations

from ..ir.core import Module, Op, walk
from ..ir.diagnostics import InputError


def root_program(module: Module, name: str = "") -> Op:
    """The program called `name`; without a name the only one that no other program calls.

    Raises InputError with the list of candidates, and when programs or functions call one another in a circle.
    """
    programs = {op.symbol: op for op in module.ops if op.name == "sem.program"}
    _reject_circles(module)
    if name:
        if name not in programs:
            raise InputError.of("E0932", f"there is no program `{name}`", fix=_choices(list(programs)))
        return programs[name]
    called = {op.symbol for op in walk(module.ops) if op.name == "sem.call"}
    roots = [p for p in programs if p not in called]
    if len(roots) == 1:
        return programs[roots[0]]
    if not programs:
        raise InputError.of("E0933", "the module has no program")
    raise InputError.of("E0934", f"{len(roots)} programs are called by no other: say which one is meant",
                        fix=_choices(roots))


def _choices(names: list[str]) -> str:
    return "the programs are " + ", ".join(f"`{n}`" for n in names) if names else "declare a program"


def _reject_circles(module: Module) -> None:
    """InputError where calls form a circle: inlining would not end."""
    callees = {
        top.symbol: list(dict.fromkeys(op.symbol for op in walk(top.regions[0].ops) if op.name == "sem.call"))
        for top in module.ops if top.name in ("sem.func", "sem.program")
    }
    finished: set[str] = set()
    for start in callees:
        path: dict[str, None] = {}
        stack = [(start, iter(callees[start]))] if start not in finished else []
        path[start] = None
        while stack:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                path.pop(name, None)
                finished.add(name)
            elif following in path:
                circle = [*list(path)[list(path).index(following) :], following]
                raise InputError.of("E0935", "calls form a circle: " + " → ".join(circle))
            elif following not in finished and following in callees:
                path[following] = None
                stack.append((following, iter(callees[following])))
