"""`flow`: host arithmetic and control flow, at every level.

Values are strict in failure unless an operation says otherwise: a failed operand fails the results.
Lists, records and maps hold failed components without failing themselves. Effect results never fail:
when an operation cannot run, its effect result is its effect operand.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Op, Value
from ..definition import EVERY_LEVEL, AttributeDefinition, OpDefinition, Trait
from ..types import EFFECT, Bool, Int, List

REGION = frozenset({Trait.REGION})


def _for(op: Op) -> Iterator[str]:
    lists = [v for v in op.operands if v.type != EFFECT]
    if not lists or not all(isinstance(v.type, List) for v in lists):
        yield "flow.for iterates over one or more lists"
    elif len(op.regions[0].parameters) != len(op.operands) + 1 or not isinstance(op.regions[0].parameters[0].type, Int):
        yield "the body of flow.for takes the index, one element of each list, and the effect if there is one"
    elif len(op.regions[0].terminator.args) != len(op.results):
        yield "the body of flow.for yields one value per result"


def _fold(op: Op) -> Iterator[str]:
    lists = op.attributes.get("lists", 1)
    body = op.regions[0]
    if not isinstance(lists, int) or not 1 <= lists < len(op.args):
        yield "flow.fold takes `lists` lists and then at least one carried value"
    elif not all(isinstance(a, Value) and isinstance(a.type, List) for a in op.args[:lists]):
        yield "flow.fold iterates over lists"
    elif len(body.parameters) != len(op.args) + 1 or not isinstance(body.parameters[0].type, Int):
        yield "the body of flow.fold takes the index, the elements and the carried values"
    elif len(body.terminator.args) != len(op.results) or len(op.results) != len(op.args) - lists:
        yield "flow.fold yields and gives one value per carried value"


def _if(op: Op) -> Iterator[str]:
    if not op.operands or not isinstance(op.operands[0].type, Bool):
        yield "flow.if takes a bool first"
    if any(len(r.terminator.args) != len(op.results) for r in op.regions):
        yield "both branches of flow.if yield one value per result"


def _loop(op: Op) -> Iterator[str]:
    condition, body = op.regions
    if not op.operands or not isinstance(op.operands[0].type, Int):
        yield "flow.loop takes its limit, an int, first"
    elif len(condition.parameters) != len(op.args) - 1 or len(body.parameters) != len(op.args):
        yield "the condition takes the carried values; the body takes the turn and the carried values"
    elif len(condition.terminator.args) != 1 or len(body.terminator.args) != len(op.results):
        yield "the condition yields a bool; the body yields one value per result"


DEFINITIONS = (
    OpDefinition("flow.const", "A constant.", "literal", "T", frozenset({Trait.PURE}), EVERY_LEVEL),
    OpDefinition(
        "flow.pure", "Applies a built-in pure function (`ir.functions`); some are not strict.", "@function, args…", "T",
        frozenset({Trait.PURE}), EVERY_LEVEL,
        (AttributeDefinition("name", "text", "the field of `field`"),
         AttributeDefinition("unit", "word", "`tokens` or `chars`, for `chunk`"))),
    OpDefinition(
        "flow.host", "Calls a host function; one that is not pure takes and gives the effect, last.",
        "@host, args…[, effect]", "[T][, effect]", frozenset({Trait.EFFECTFUL}), EVERY_LEVEL),
    OpDefinition(
        "flow.for",
        "A map over lists, as long as the shortest: bodies are independent, order is kept. `unordered` drops the "
        "order of effects: every body starts from the effect operand.",
        "lists…[, effect]", "list<T>…[, effect]", REGION, EVERY_LEVEL,
        (AttributeDefinition("unordered", "bool", "effects of different elements are not ordered"),),
        regions=True, check=_for),
    OpDefinition(
        "flow.fold", "Carries values over the elements of lists, in order; the seeds when there are none.",
        "lists…, carried…", "carried…", REGION, EVERY_LEVEL,
        (AttributeDefinition("lists", "int", "number of lists (1 unless given)"),), regions=True, check=_fold),
    OpDefinition(
        "flow.if", "One of two branches; a failed condition fails the results and runs neither.",
        "bool[, effect]", "T…[, effect]", REGION, EVERY_LEVEL, keywords=("else",), regions=True, check=_if),
    OpDefinition(
        "flow.loop", "Turns while the condition holds, at most `limit` of them; gives the carried values.",
        "limit, carried…", "carried…", REGION, EVERY_LEVEL, keywords=("do",), regions=True, check=_loop),
    OpDefinition(
        "flow.try", "Its operand, or what the region yields where the operand failed.", "value[, effect]",
        "T[, effect]", REGION | {Trait.NON_STRICT}, EVERY_LEVEL, regions=True),
    OpDefinition("flow.yield", "Ends a region.", "values…", "", frozenset({Trait.TERMINATOR}), EVERY_LEVEL),
)
