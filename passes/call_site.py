"""A call that is being inlined: what its callee's copy must know of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.core import Arg, Op, Table, Value
from ..ir.diagnostics import InputError
from ..ir.source import UNKNOWN, Location
from ..ir.types import EFFECT
from .effects import count_of, names_of


@dataclass(slots=True)
class CallSite:
    """One body on its way into the root: what its values became, and what its generates receive."""

    stream: str
    """Path of programs, callees and ordinals: the first part of the key of every output inside."""
    is_root: bool = False
    is_function: bool = False
    mapping: dict[Value, Value] = field(default_factory=dict)
    inputs: list[Arg] = field(default_factory=list)
    """What the parameters stand for, an effect included."""
    indices: list[Arg] = field(default_factory=list)
    """Indices of every iteration around the call, outermost first."""
    options: dict[str, Arg] = field(default_factory=dict)
    """`with` options for every output inside: literals, or values of the root."""
    model: str | None = None
    """Model that the call or its callee names."""
    location: Location = UNKNOWN


def enter(call: Op, callee: Op, caller: CallSite) -> CallSite:
    """The site of `callee`'s body at `call`, which stands in the body of `caller`.

    Options of an outer call win over those of calls inside it. Raises InputError for calls that do not fit.
    """
    arguments: list[Arg] = [caller.mapping.get(a, a) if isinstance(a, Value) else a for a in call.args[1:]]
    parameters = callee.regions[0].parameters
    effects = 1 if parameters and parameters[-1].type == EFFECT else 0
    names = names_of(call.attributes.get("options"))
    count = len(parameters) - effects
    index_count = count_of(call.attributes.get("indices"))
    if len(arguments) != count + len(names) + index_count + effects:
        raise InputError.of("E0936", f"{call.location}: `{call.symbol}` takes {count} inputs, {len(names)} options, "
                            f"{index_count} indices and {effects} effects, but the call has {len(arguments)} operands")
    first_index = count + len(names)
    constants = call.attributes.get("with")
    options: dict[str, Arg] = dict(constants.entries) if isinstance(constants, Table) else {}
    options.update(zip(names, arguments[count:first_index], strict=True))
    options.update(caller.options)
    model = options.get("model", callee.attributes.get("model"))
    if isinstance(model, Value):
        raise InputError.of("E0937", f"{call.location}: the model of a call is the name of an alias, not a value")
    is_function = callee.name == "sem.func"
    if is_function:
        options.pop("model", None)
    return CallSite(
        stream=f"{caller.stream}/{call.symbol}#{call.attributes['ordinal']}",
        is_function=is_function,
        inputs=arguments[:count] + arguments[len(arguments) - effects :],
        indices=caller.indices + arguments[first_index : first_index + index_count],
        options=options,
        model=model if isinstance(model, str) else None,
        location=call.location if caller.is_root else call.location.called_from(caller.location),
    )
