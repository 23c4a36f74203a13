"""What calls share: constant tokens of prompts that another call, or an earlier turn, has filled already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..ir.core import Op, TokenList, Value
from .effects import GENERATES
from .scopes import UNKNOWN_TURNS, Scope, Scopes

APPENDS = frozenset({"prompt.append", "prompt.role", "engine.fill"})
MOST_BRANCHES = 8
"""How many branches of which one runs are told apart; in further ones a prefix counts as filled already."""


def constant_tokens(op: Op) -> int:
    """Constant tokens that an append or fill adds."""
    return sum([len(a.ids) for a in op.args if isinstance(a, TokenList)])


@dataclass(frozen=True)
class Shared:
    """Constant tokens of a call's prompt, since its last output, that the call does not fill itself.

    `first`: in the first execution of the call; `later`: in each later one, on further turns of the loops around it.
    """

    first: int = 0
    later: int = 0


def shared_tokens(top: Op, scopes: Scopes | None = None) -> dict[Op, Shared]:
    """What each generate in `top` shares, on prompts or on contexts. The first user in textual order fills a prompt,
    and of branches of which only one runs the first user in each.

    Linear in the number of operations. `scopes`: those of `top`, where they are known.
    """
    scopes = scopes or Scopes(top)
    places = scopes.places
    length: dict[Value, int] = {}
    made: list[tuple[int, int]] = []
    users: dict[Value, tuple[int, ...]] = {}
    generates: list[int] = []
    for number, (op, _, _) in enumerate(places):
        if op.name in APPENDS:
            parent = op.args[0]
            tokens = constant_tokens(op)
            length[op.results[0]] = (length.get(parent, 0) if isinstance(parent, Value) else 0) + tokens
            made.append((number, tokens))
        elif op.name != "engine.free":
            if op.name in GENERATES:
                generates.append(number)
            for value in op.args:
                if isinstance(value, Value) and value in length:
                    known = users.get(value)
                    users[value] = _fillers((*known, number), places) if known else (number,)
    filled: dict[int, list[int]] = {}
    for number, tokens in reversed(made):
        op, scope, _ = places[number]
        own_users = users.get(op.results[0], ())
        for user in own_users:
            own = filled.setdefault(user, [0, 0])
            own[0] += tokens
            own[1] += tokens if places[user][1].loops == scope.loops else 0
        parent = op.args[0]
        if own_users and isinstance(parent, Value) and parent in length:
            others = users.get(parent)
            users[parent] = own_users if not others else _fillers(sorted({*own_users, *others}), places)
    shared = {}
    for number in generates:
        op = places[number][0]
        prompt = op.args[0]
        assert isinstance(prompt, Value)
        total, (once, again) = length.get(prompt, 0), filled.get(number, (0, 0))
        shared[op] = Shared(total - once, total - again)
    return shared


def _fillers(users: Sequence[int], places: Sequence[tuple[Op, Scope, int]]) -> tuple[int, ...]:
    """Of users in textual order the first, and those that run only where none before them does."""
    found = tuple(users[:1])
    for user in users[1:]:
        if len(found) == MOST_BRANCHES:
            break
        scope = places[user][1]
        for other in found:
            if scope is places[other][1] or not _exclude(scope, places[other][1]):
                break
        else:
            found += (user,)
    return found


def _exclude(first: Scope, second: Scope) -> bool:
    """Whether two scopes are, or lie in, different branches of one `flow.if`."""
    while first is not second:
        if first.depth < second.depth:
            first, second = second, first
        if second.around is not None and first.around is second.around and first.owner is second.owner:
            return first.owner.name == "flow.if"
        assert first.around is not None
        first = first.around
    return False


def note_sharing(top: Op) -> int:
    """Write `shared` on every fill that two or more contexts continue; how many have it.

    A use inside of a loop that the fill is outside of counts for each turn that the loop certainly has, at least two.
    """
    scopes = Scopes(top)
    fills: dict[Value, tuple[Op, Scope]] = {}
    counts: dict[Op, float] = {}
    for op, scope, _ in scopes.places:
        if op.name == "engine.free":
            continue
        for value in op.args:
            if isinstance(value, Value) and value in fills:
                fill, home = fills[value]
                counts[fill] = counts.get(fill, 0.0) + _uses(op, scope, home)
        if op.name == "engine.fill":
            fills[op.result] = op, scope
            op.attributes.pop("shared", None)
    shared = {fill: round(count) for fill, count in counts.items() if count >= 2}
    for fill, count in shared.items():
        fill.attributes["shared"] = count
    return len(shared)


def _uses(op: Op, scope: Scope, home: Scope) -> float:
    """How many contexts `op` makes of one that was made in `home`."""
    if scope is home and "n" not in op.attributes:  # nearly all of them
        return 1.0
    count = 1.0
    around: Scope = scope
    while around is not home and around.around is not None:
        if around.is_loop:
            turns = around.turns / around.around.turns
            count *= 2.0 if turns == UNKNOWN_TURNS else turns
        around = around.around
    samples: Mapping[str, object] = op.attributes
    given = samples.get("n") if op.name in GENERATES else None
    return count * given if isinstance(given, int) else count
