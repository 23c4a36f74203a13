"""`sem`: what was written. Functions, programs, hosts, types, calls.

A `sem.func` body is a chain of `prompt` operations; a call gives the function's outputs and then the
prompt in which it ended (`.chat`). A program with effectful hosts takes an effect as its last
parameter and returns one last.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Op, Symbol
from ..definition import EVERY_LEVEL, AttributeDefinition, Level, OpDefinition, Trait

SEM = frozenset({Level.SEM})
DECLARATION = frozenset({Trait.DECLARATION})


def _named(op: Op) -> Iterator[str]:
    if not op.args or not isinstance(op.args[0], Symbol):
        yield f"{op.name} takes a symbol `@name` first"


DEFINITIONS = (
    OpDefinition(
        "sem.enum", "Declares an enum and the text of each member.", "@name", "", DECLARATION, EVERY_LEVEL,
        (AttributeDefinition("members", "texts", "names of the members in order", True),
         AttributeDefinition("texts", "texts", "what each member renders as", True)),
        check=_named),
    OpDefinition(
        "sem.record", "Declares a record type.", "@name", "", DECLARATION, EVERY_LEVEL,
        (AttributeDefinition("fields", "table of types", "fields in declared order", True),), check=_named),
    OpDefinition(
        "sem.model", "Declares a model alias.", "@alias", "", DECLARATION, EVERY_LEVEL,
        (AttributeDefinition("identifier", "text", "the model that the source names", True),), check=_named),
    OpDefinition(
        "sem.host", "Declares a host function: a Python callable.", "@name", "", DECLARATION, EVERY_LEVEL,
        (AttributeDefinition("target", "text", "`module:function`", True),
         AttributeDefinition("directory", "text", "directory of the declaring file, searched first"),
         AttributeDefinition("parameters", "table of types", "parameters in order", True),
         AttributeDefinition("result", "type", "result type; absent when nothing is returned"),
         AttributeDefinition("pure", "bool", "no effects; memoized for one run"),
         AttributeDefinition("idempotent", "bool", "may be repeated after a failure"),
         AttributeDefinition("timeout", "float", "seconds after which a call fails"),
         AttributeDefinition("retries", "int", "further attempts after a failure")),
        check=_named),
    OpDefinition(
        "sem.func", "A semantic function: its prompt as a chain of `prompt` operations.", "@name", "",
        DECLARATION | {Trait.ISOLATED}, SEM,
        (AttributeDefinition("model", "text", "model alias of `using`"),), regions=True, check=_named),
    OpDefinition(
        "sem.program", "A program: the data flow between calls.", "@name", "",
        DECLARATION | {Trait.ISOLATED}, EVERY_LEVEL,
        (AttributeDefinition("defaults", "table", "default values of parameters, as JSON-like literals"),),
        regions=True, check=_named),
    OpDefinition(
        "sem.call",
        "Calls a semantic function or program. Operands: inputs, then one for each name in `options`, then the "
        "`indices` of the enclosing iterations (outermost first), then the effect if the callee takes one.",
        "@callee, inputs…, options…, indices…[, effect]", "outputs…[, prompt][, effect]",
        frozenset({Trait.SAMPLED}), SEM,
        (AttributeDefinition("ordinal", "int", "position of the call in its program, in source order", True),
         AttributeDefinition("with", "table", "constant `with` options"),
         AttributeDefinition("options", "texts", "names of the `with` options that are operands"),
         AttributeDefinition("indices", "int", "number of index operands")),
        check=_named),
    OpDefinition(
        "sem.return", "Ends a function or program.", "values…", "", frozenset({Trait.TERMINATOR}), EVERY_LEVEL,
        (AttributeDefinition("names", "texts", "names of the outputs (an effect has none)"),
         AttributeDefinition("objective", "objectives", "one per output: latency, throughput, ttft, deadline(seconds)",
                             merge=False))),
)
