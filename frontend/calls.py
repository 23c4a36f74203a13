"""Calls of semantic functions, hosts, programs and record types."""

from __future__ import annotations

from ..ir.core import Arg, Literal, Table, Value
from ..ir.core import Symbol as IrSymbol
from ..ir.diagnostics import Label
from ..ir.source import Span
from ..ir.types import EFFECT, PROMPT, Option, Text, Type
from . import ast
from .arguments import bind_arguments, call_arguments
from .body import Body
from .builtin_functions import BUILT_INS
from .inference import UNIT
from .names import PROMPT_WORDS, static_symbol
from .options import CALL_OPTIONS, call_option
from .symbols import (
    EnumSymbol,
    FileScope,
    FunctionSymbol,
    HostSymbol,
    OutputSymbol,
    ProgramSymbol,
    RecordSymbol,
    SemanticSymbol,
    Symbol,
)
from .terms import NOTHING, Term, poison, record_term


def call(body: Body, node: ast.Call, expected: Type | None) -> Term:
    """Any call, by what is called."""
    symbol = static_symbol(body, node.callee)
    if symbol is None and isinstance(node.callee, ast.Name):
        symbol = body.scope.names.get(node.callee.name)
    match symbol:
        case RecordSymbol():
            no_options(body, node, "a record has no options")
            return _record(body, node, symbol)
        case FunctionSymbol():
            return _function(body, node, symbol, expected)
        case Symbol():
            return _poisoned(body, node, "E0408", f"`{symbol.name}` is an {symbol.kind}, it cannot be called",
                             "name a member: " + member_example(symbol))
    if isinstance(node.callee, ast.Name) and node.callee.name in BUILT_INS:
        if node.callee.name != "chat":
            no_options(body, node, "a built-in function has no options")
        return BUILT_INS[node.callee.name](body, node, expected)
    return _unknown_callee(body, node)


def member_example(symbol: Symbol) -> str:
    """A member of an enum, as an example."""
    members = symbol.type.members if isinstance(symbol, EnumSymbol) and symbol.type else ()
    return f"`{symbol.name}.{members[0].name if members else '…'}`"


def _unknown_callee(body: Body, node: ast.Call) -> Term:
    callee = node.callee
    if isinstance(callee, ast.Name):
        if body.variables.find(callee.name) is not None:
            return _poisoned(body, node, "E0408", f"`{callee.name}` is a variable, not a function")
        functions = [n for n, s in body.scope.names.items() if isinstance(s, FunctionSymbol | RecordSymbol)]
        fix = body.suggestion(callee.name, [*functions, *BUILT_INS])
        return _poisoned(body, node, "E0202", f"unknown function `{callee.name}`", fix)
    if isinstance(callee, ast.FieldAccess):
        base = static_symbol(body, callee.base)
        if isinstance(base, FileScope):
            fix = body.suggestion(callee.name, [s.name for s in base.own])
            return _poisoned(body, node, "E0202", f"`{base.path}` declares no `{callee.name}`", fix)
        if base is None and isinstance(callee.base, ast.Name) and body.variables.find(callee.base.name) is None:
            fix = body.suggestion(callee.base.name, [*body.scope.aliases, *body.variables.names()])
            return _poisoned(body, node, "E0201", f"no file is used as `{callee.base.name}`", fix)
        fix = (f"write `{callee.name}(…)` with the value as its first argument" if callee.name in BUILT_INS
               else "call a function with the value as an argument")
        return _poisoned(body, node, "E0408", "values have no methods", fix)
    return _poisoned(body, node, "E0408", "only functions can be called")


def _poisoned(body: Body, node: ast.Call, code: str, message: str, fix: str | None = None) -> Term:
    body.error(code, message, node.callee.span, fix=fix)
    for argument in node.arguments:
        value = argument.value
        if not isinstance(value, ast.Name) or body.variables.find(value.name) is not None:
            body.expression(value)  # it may have errors of its own; a bare name may be a member of an enum
    return poison()


def no_options(body: Body, node: ast.Call, note: str) -> None:
    """Report a `with` clause where none can stand; in a test, one may choose the engine of the run."""
    for option in node.options:
        if not run_option(body, option):
            body.error("E0406", "`with` belongs to the call of a semantic function", option.span, notes=[note])
            return


def run_option(body: Body, option: ast.Argument) -> bool:
    """Whether an option is one of a test's run; keeps it."""
    if body.run_options is None or option.name != "engine":
        return False
    earlier = body.run_options.setdefault("engine", option)
    if engine_name(earlier.value) != engine_name(option.value):
        body.error("E0902", "one test runs on one engine", option.span, labels=[Label(earlier.span, "chosen here")],
                   fix="write two tests")
    if engine_name(option.value) is None:
        body.error("E0902", "an engine is a name or a text", option.value.span, fix="write `with engine reference`")
    return True


def engine_name(value: ast.Expr) -> str | None:
    """The engine that `with engine …` names."""
    match value:
        case ast.Name(name=name):
            return name
        case ast.TextExpr(parts=(str(text),)):
            return text
        case _:
            return None


def _record(body: Body, node: ast.Call, symbol: RecordSymbol) -> Term:
    record = symbol.type
    if record is None:
        return poison()
    names = [f.name for f in record.fields]
    bound = bind_arguments(body, node, symbol.name, names, "field")
    values = {i: body.typed(e, record.fields[i].type, f"`{names[i]}` of `{symbol.name}`") for i, e in bound.items()}
    missing = [f for i, f in enumerate(record.fields) if i not in bound and not isinstance(f.type, Option)]
    if missing and len(bound) == len(node.arguments):
        listed = ", ".join(f"`{f.name}`" for f in missing)
        fix = "add `" + ", ".join(f"{f.name} = …" for f in missing) + "`"
        body.error("E0401", f"`{symbol.name}` needs {listed}", node.span, "not all fields are given", fix=fix)
        return poison()
    args = [
        values[i] if i in values else body.builder.const(None, field.type, node.span)
        for i, field in enumerate(record.fields)
    ]
    return Term(record, body.builder.pure("record", args, record, node.span))


def _function(body: Body, node: ast.Call, symbol: FunctionSymbol, expected: Type | None) -> Term:
    if body.calls_forbidden_in is not None:
        fix = "call it in the program, and give its value to the prompt as a parameter"
        if body.calls_forbidden_in != PROMPT_WORDS:
            fix = "call it in the body, and carry its value to the condition"
        body.error("E0407", f"{body.calls_forbidden_in} cannot call the {symbol.kind} `{symbol.name}`", node.span,
                   fix=fix)
    values = call_arguments(body, node, symbol.name, symbol.parameters, symbol.scope)
    match symbol:
        case HostSymbol():
            no_options(body, node, "the options of a host stand in its declaration")
            return _host(body, node, symbol, values, expected)
        case SemanticSymbol():
            return _semantic(body, node, symbol, values, expected)
        case ProgramSymbol():
            return _program(body, node, symbol, values, expected)
    raise AssertionError(symbol.kind)


def _host(body: Body, node: ast.Call, symbol: HostSymbol, values: list[Value], expected: Type | None) -> Term:
    args: list[Arg] = [IrSymbol(symbol.ir_name), *values]
    types = [o.type for o in symbol.outputs]
    effect = None if symbol.pure else body.builder.effect
    if effect is not None:
        args.append(effect)
        types.append(EFFECT)
    results = body.builder.emit("flow.host", args, types, node.span, names=[""])
    if effect is not None:
        body.builder.effect = results[-1]
    if not symbol.outputs:
        return NOTHING
    if expected == UNIT:
        warn_unused(body, node.span, symbol)
    return Term(symbol.outputs[0].type, results[0])


def warn_unused(body: Body, span: Span, symbol: FunctionSymbol) -> None:
    """Warn of a call whose result nobody uses."""
    if isinstance(symbol, HostSymbol) and not symbol.pure:
        body.diagnostics.warning("W0102", f"nobody uses the result of `{symbol.name}`", span, fix=(
            "declare the host without a result if it is called for its effect only"))
    elif not (isinstance(symbol, ProgramSymbol) and symbol.effectful):
        body.diagnostics.warning("W0103", f"nobody uses the result of `{symbol.name}`, so it never runs", span,
                                 fix="remove the call, or use its result")


def _semantic(body: Body, node: ast.Call, symbol: SemanticSymbol, values: list[Value],
              expected: Type | None) -> Term:
    args: list[Arg] = [IrSymbol(symbol.ir_name), *values]
    attributes = _call_options(body, node, symbol, args)
    types, names = _result_types(symbol.outputs)
    results = _emit_call(body, node, args, [*types, PROMPT], [*names, ""], attributes)
    if expected == UNIT:
        warn_unused(body, node.span, symbol)
    return call_term(symbol.outputs, results, results[len(types)])


def _program(body: Body, node: ast.Call, symbol: ProgramSymbol, values: list[Value], expected: Type | None) -> Term:
    no_options(body, node, "a program's own calls decide how they sample")
    args: list[Arg] = [IrSymbol(symbol.ir_name), *values]
    types, names = _result_types(symbol.outputs)
    effect = body.builder.effect if symbol.effectful else None
    if effect is not None:
        types.append(EFFECT)
    results = _emit_call(body, node, args, types, names, {}, effect)
    if effect is not None:
        body.builder.effect = results[-1]
    if expected == UNIT and symbol.outputs:
        warn_unused(body, node.span, symbol)
    return call_term(symbol.outputs, results, None) if symbol.outputs else NOTHING


def _emit_call(body: Body, node: ast.Call, args: list[Arg], types: list[Type], names: list[str],
               attributes: dict[str, Literal], effect: Value | None = None) -> list[Value]:
    """`sem.call`; its ordinal is put in when the whole program is known."""
    args += body.indices
    if body.indices:
        attributes["indices"] = len(body.indices)
    if effect is not None:
        args.append(effect)
    names = [*names, *[""] * (len(types) - len(names))]
    return body.builder.emit("sem.call", args, types, node.span, attributes={"ordinal": node.span.start, **attributes},
                             names=names)


def _result_types(outputs: list[OutputSymbol]) -> tuple[list[Type], list[str]]:
    """Types and names of the results that stand for outputs: their values, then the log-probabilities asked for."""
    logprobs = [o for o in outputs if o.logprobs is not None]
    types = [o.type for o in outputs] + [o.logprobs for o in logprobs if o.logprobs is not None]
    return types, [o.name for o in outputs] + [f"{o.name}_logprobs" for o in logprobs]


def call_term(outputs: list[OutputSymbol], results: list[Value], chat: Value | None) -> Term:
    """What a call gives: its one value, or a record of its outputs."""
    rest = iter(results[len(outputs):])
    parts = [
        (output.name, Term(output.type, value, logprobs=next(rest) if output.logprobs is not None else None))
        for output, value in zip(outputs, results, strict=False)
    ]
    if len(parts) == 1:
        term = parts[0][1]
        return Term(term.type, term.value, chat=chat, logprobs=term.logprobs)
    return record_term(parts, chat)


def _call_options(body: Body, node: ast.Call, symbol: SemanticSymbol, args: list[Arg]) -> dict[str, Literal]:
    """The attributes of a `with` clause; values that are no constants join `args`."""
    constants: list[tuple[str, Literal]] = []
    operands: list[str] = []
    seen: set[str] = set()
    outputs = [*symbol.outputs, *symbol.local_outputs]
    has_other = [o.name for o in outputs if not isinstance(o.sampled_type or o.type, Text)]
    for option in node.options:
        name = option.name or ""
        if run_option(body, option):
            continue
        if name in seen:
            body.error("E0404", f"the option `{name}` is given twice", option.span)
            continue
        seen.add(name)
        if name in ("stop", "max_words") and has_other:
            body.error("E0406", f"`{name}` is for texts, but `{has_other[0]}` is none", option.span)
            continue
        value = call_option(body, name, option)
        if isinstance(value, Value):
            operands.append(name)
            args.append(value)
        elif name in CALL_OPTIONS and value is not None:
            constants.append((name, value))
    attributes: dict[str, Literal] = {}
    if constants:
        attributes["with"] = Table(tuple(constants))
    if operands:
        attributes["options"] = tuple(operands)
    return attributes
