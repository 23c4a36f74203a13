"""Who calls whom: recursion is an error, effects are inherited, and the root is what no other program calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir.diagnostics import Diagnostic, Diagnostics, InputError, Label
from ..ir.source import Span
from . import ast
from .constants import ConstantEvaluator
from .suggestions import nearest
from .symbols import FileScope, FunctionSymbol, HostSymbol, ProgramSymbol
from .walk import nodes


def resolve_calls(programs: Sequence[ProgramSymbol], diagnostics: Diagnostics) -> None:
    """Fill in `callees` and `effectful` of all programs; reports programs that call themselves."""
    for program in programs:
        assert program.declaration is not None
        program.callees = called_functions(program.scope, program.declaration.body)
    for program in callees_first(programs, diagnostics):
        program.effectful = has_effects(function for function, _ in program.callees)


def called_functions(scope: FileScope, body: Iterable[ast.Node]) -> list[tuple[FunctionSymbol, Span]]:
    """The functions that statements call, each once, with the span of the first call."""
    evaluator = ConstantEvaluator(scope)
    found: dict[FunctionSymbol, Span] = {}
    for node in nodes(body):
        if isinstance(node, ast.Call):
            symbol = evaluator.symbol(node.callee)
            if isinstance(symbol, FunctionSymbol):
                found.setdefault(symbol, node.span)
    return list(found.items())


def has_effects(functions: Iterable[FunctionSymbol]) -> bool:
    """Whether one of `functions` is an effectful host, or a program that calls one."""
    return any(
        (isinstance(f, HostSymbol) and not f.pure) or (isinstance(f, ProgramSymbol) and f.effectful) for f in functions)


def callees_first(programs: Sequence[ProgramSymbol], diagnostics: Diagnostics) -> list[ProgramSymbol]:
    """The programs, each after those that it calls; a cycle is reported once."""
    order: list[ProgramSymbol] = []
    done: set[ProgramSymbol] = set()
    for start in programs:
        path: list[ProgramSymbol] = []
        stack = [(start, False)]
        while stack:
            program, is_finished = stack.pop()
            if is_finished:
                path.pop()
                done.add(program)
                order.append(program)
            elif program not in done and program not in path:
                path.append(program)
                stack.append((program, True))
                for callee, span in reversed(program.callees):
                    if callee in path and isinstance(callee, ProgramSymbol):
                        _report_cycle(path[path.index(callee):], span, diagnostics)
                    elif isinstance(callee, ProgramSymbol):
                        stack.append((callee, False))
    return order


def _report_cycle(cycle: Sequence[ProgramSymbol], span: Span, diagnostics: Diagnostics) -> None:
    chain = " → ".join(f"`{p.name}`" for p in (*cycle, cycle[0]))
    message = "a program cannot call itself" if len(cycle) == 1 else "programs cannot call one another in a cycle"
    diagnostics.error("E0804", message, span, notes=[f"each calls the next: {chain}"],
                      fix="repeat with `loop` or `fold`")


def choose_root(programs: Sequence[ProgramSymbol], path: str, wanted: str | None) -> ProgramSymbol:
    """The program to run: `wanted`, or the only one that no other calls. Raises InputError."""
    if wanted is not None:
        found = next((p for p in programs if p.name == wanted), None)
        if found is None:
            near = nearest(wanted, [p.name for p in programs])
            raise InputError([Diagnostic(
                "E0806", f"`{path}` has no program `{wanted}`", notes=(_listed(programs),),
                fix=f"did you mean `{near}`?" if near else None)])
        return found
    called = {callee for p in programs for callee, _ in p.callees}
    roots = [p for p in programs if p not in called]
    if not programs:
        raise InputError([Diagnostic("E0806", f"`{path}` declares no program",
                                     fix="add one: `program Main(…) -> result: text { … return … }`")])
    if len(roots) != 1:
        labels = tuple(Label(p.span, "") for p in roots)
        raise InputError([Diagnostic(
            "E0807", f"`{path}` has {len(roots)} programs that no other calls", None, labels, (_listed(roots),),
            "choose one with `--program NAME`")])
    return roots[0]


def _listed(programs: Sequence[ProgramSymbol]) -> str:
    return "its programs are " + ", ".join(f"`{p.name}`" for p in programs) if programs else "it has no programs"
