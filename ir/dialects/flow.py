"""`flow`: host arithmetic and control flow, at every level.

Values are strict in failure unless an operation says otherwise: a failed operand fails the results.
Lists, records and maps hold failed components without failing themselves. Effect results never fail:
when an operation cannot run, its effect result is its effect operand.
"""

from __future__ import annotations

from ..definition import EVERY_LEVEL, AttributeDefinition, OpDefinition, Trait
from . import flow_checks as checks

REGION = frozenset({Trait.REGION})
STREAM = AttributeDefinition(
    "stream", "bool", "elements arrive one by one: turn i waits for element i only", merge=False)

DEFINITIONS = (
    OpDefinition("flow.const", "A constant.", "literal", "T", frozenset({Trait.PURE}), EVERY_LEVEL,
                 check=checks.check_const),
    OpDefinition(
        "flow.pure", "Applies a built-in pure function (`ir.functions`); some are not strict.", "@function, args…", "T",
        frozenset({Trait.PURE}), EVERY_LEVEL,
        (AttributeDefinition("name", "text", "the field of `field`"),
         AttributeDefinition("unit", "word", "`tokens` or `chars`, for `chunk`")), check=checks.check_pure),
    OpDefinition(
        "flow.host", "Calls a host function; one that is not pure takes and gives the effect, last.",
        "@host, args…[, effect]", "[T][, effect]", frozenset({Trait.EFFECTFUL}), EVERY_LEVEL,
        check=checks.check_host),
    OpDefinition(
        "flow.for",
        "A map over lists, as long as the shortest: bodies are independent, order is kept. `unordered` drops the "
        "order of effects: every body starts from the effect operand.",
        "lists…[, effect]", "list<T>…[, effect]", REGION, EVERY_LEVEL,
        (AttributeDefinition("unordered", "bool", "effects of different elements are not ordered"),
         STREAM),
        regions=True, check=checks.check_for),
    OpDefinition(
        "flow.fold", "Carries values over the elements of lists, in order; the seeds when there are none.",
        "lists…, carried…", "carried…", REGION, EVERY_LEVEL,
        (AttributeDefinition("lists", "int", "number of lists (1 unless given)"),
         AttributeDefinition("unordered", "bool", "the order of a prompt's pieces does not matter", merge=False),
         STREAM),
        regions=True, check=checks.check_fold),
    OpDefinition(
        "flow.if", "One of two branches; a failed condition fails the results and runs neither.",
        "bool[, effect]", "T…[, effect]", REGION, EVERY_LEVEL, keywords=("else",), regions=True, check=checks.check_if),
    OpDefinition(
        "flow.loop", "Turns while the condition holds, at most `limit` of them; gives the carried values.",
        "limit, carried…", "carried…", REGION, EVERY_LEVEL, keywords=("do",), regions=True, check=checks.check_loop),
    OpDefinition(
        "flow.try", "Its operand, or what the region yields where the operand failed.", "value[, effect]",
        "T[, effect]", REGION | {Trait.NON_STRICT}, EVERY_LEVEL, regions=True, check=checks.check_try),
    OpDefinition("flow.yield", "Ends a region.", "values…", "", frozenset({Trait.TERMINATOR}), EVERY_LEVEL,
                 check=checks.check_yield),
)
