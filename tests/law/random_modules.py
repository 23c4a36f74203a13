"""Random modules at level `prompt`, of shapes that no source text leads to.

Several carried prompts, records and options that cross regions, loops over results of loops, effects through
everything, sampled outputs with and without indices, operations that stand twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from semlang.ir.core import Literal, Module, Op, Region, Symbol, Table, Value, clone
from semlang.ir.source import Location, Site
from semlang.ir.types import BOOL, EFFECT, FLOAT, INT, PROMPT, TEXT, Field, List, Option, Record, Type

CARD = Record(None, (Field("title", TEXT), Field("score", INT), Field("note", TEXT)))
TEXTS, INTS, BOOLS, CARDS, MAYBE = List(TEXT), List(INT), List(BOOL), List(CARD), Option(TEXT)
PLAIN = (TEXT, TEXT, INT, BOOL, TEXTS, INTS, CARD, CARDS, MAYBE)
WORDS = ("", "a", "bc ", " d", "é", "long words here", "\n")
PURE_HOST, EFFECTFUL_HOST = "refuse", "note"


class Maker:
    """Draws one module. `random` decides everything."""

    def __init__(self, source: random.Random) -> None:
        self.random = source
        self.calls = 0
        self.made = 0
        self.room = 70

    def module(self) -> Module:
        parameters = [Value(TEXT, "a"), Value(TEXT, "b"), Value(TEXTS, "xs"), Value(INT, "n"), Value(EFFECT, "effect")]
        maker = Body(self, list(parameters[:-1]), parameters[-1], [], 3)
        maker.fill(self.random.randint(3, 16))
        kinds = self.random.sample(sorted(set(PLAIN), key=str), k=self.random.randint(2, 7))
        results = [maker.latest(t) for t in kinds]
        names = tuple(f"y{i}" for i in range(len(results)))
        assert maker.effect is not None
        maker.ops.append(Op("sem.return", [*results, maker.effect], [], {"names": names}))
        hosts = [host(PURE_HOST, pure=True), host(EFFECTFUL_HOST, pure=False)]
        return Module([*hosts, Op("sem.program", [Symbol("Main")], [], {}, [Region(parameters, maker.ops)])])


class Body:
    """One region: its operations so far and the values in scope."""

    def __init__(self, maker: Maker, scope: list[Value], effect: Value | None, indices: list[Value],
                 depth: int) -> None:
        self.maker, self.random = maker, maker.random
        self.scope, self.effect, self.indices, self.depth = scope, effect, indices, depth
        self.ops: list[Op] = []

    def inner(self, parameters: list[Value], effect: Value | None, index: Value | None = None) -> Body:
        plain = [p for p in parameters if p.type != EFFECT]
        return Body(self.maker, self.scope + plain, effect, self.indices + ([index] if index else []), self.depth - 1)

    def add(self, name: str, args: list[object], types: list[Type], attributes: dict[str, Literal] | None = None,
            regions: list[Region] | None = None) -> list[Value]:
        results = [Value(t) for t in types]
        self.maker.made += 1
        place = Location(((Site("random.sir", self.maker.made, 1),),))
        self.ops.append(Op(name, list(args), results, dict(attributes or {}), regions or [], place))  # type: ignore[arg-type]
        self.scope += [r for r in results if r.type != EFFECT]
        return results

    def pure(self, function: str, args: list[Value], type: Type, **attributes: Literal) -> Value:
        return self.add("flow.pure", [Symbol(function), *args], [type], attributes)[0]

    def fill(self, count: int) -> None:
        for _ in range(count):
            self.maker.room -= 1
            self.random.choice(self.choices())()

    def choices(self) -> list[Callable[[], object]]:
        plain: Callable[[], object] = lambda: self.value(self.random.choice(PLAIN), fresh=True)  # noqa: E731
        able = [plain, plain, plain, plain, self.append, self.append, self.generate, self.generate, self.repeat]
        if self.effect is not None:
            able.append(self.note)
        if self.depth > 0 and self.maker.room > 0:
            able += [self.map, self.map, self.fold, self.fold, self.branch, self.branch, self.loop, self.attempt,
                     self.chain, self.chain, self.agree, self.nested]
        return able

    def some(self, type: Type) -> Value | None:
        known = [v for v in self.scope if v.type == type]
        return self.random.choice(known[-4:]) if known else None

    def latest(self, type: Type) -> Value:
        """The last value of `type`, so that most of what was made is needed."""
        return next((v for v in reversed(self.scope) if v.type == type), None) or self.value(type, fresh=True)

    def value(self, type: Type, *, fresh: bool = False) -> Value:
        """A value of `type`: one in scope, or a new one."""
        known = None if fresh else self.some(type)
        if known is not None and self.random.random() < 0.8:
            return known
        if type == PROMPT:
            return self.prompt()
        if self.random.random() < (0.75 if fresh else 0.3):
            return self.computed(type)
        return self.add("flow.const", [self.constant(type)], [type])[0]

    def constant(self, type: Type) -> Literal:
        pick = self.random
        match type:
            case _ if type == TEXT:
                return pick.choice(WORDS)
            case _ if type == INT:
                return pick.randint(-1, 3)
            case _ if type == BOOL:
                return pick.random() < 0.5
            case _ if type == CARD:
                return Table((("title", pick.choice(WORDS)), ("score", pick.randint(0, 2)), ("note", "n")))
            case _ if type == MAYBE:
                return pick.choice([None, *WORDS])
            case List(element):
                return tuple(self.constant(element) for _ in range(pick.randint(0, 3)))
        raise AssertionError(type)

    def computed(self, type: Type) -> Value:
        get, pick = self.value, self.random
        makers: dict[Type, list[Callable[[], Value]]] = {
            TEXT: [
                lambda: self.pure("concat", [get(TEXT), get(TEXT)], TEXT),
                lambda: self.pure("upper", [get(TEXT)], TEXT),
                lambda: self.pure("render", [get(pick.choice([INT, BOOL, CARD, TEXT, TEXTS]))], TEXT),
                lambda: self.pure("field", [get(CARD)], TEXT, name=pick.choice(["title", "note"])),
                lambda: self.pure("unwrap", [get(MAYBE)], TEXT), lambda: self.pure("join", [get(TEXTS)], TEXT),
                lambda: self.add("flow.host", [Symbol(PURE_HOST), get(TEXT)], [TEXT])[0],
                *[lambda: self.generate(TEXT)] * 4],
            INT: [
                lambda: self.pure(pick.choice(["add", "sub", "mul", "floordiv", "mod"]), [get(INT), get(INT)], INT),
                lambda: self.pure("len", [get(pick.choice([TEXTS, CARDS, INTS, TEXT]))], INT),
                lambda: self.pure("field", [get(CARD)], INT, name="score")],
            BOOL: [
                lambda: self.pure(pick.choice(["lt", "eq", "ge"]), [get(INT), get(INT)], BOOL),
                lambda: self.pure("not", [get(BOOL)], BOOL), lambda: self.pure("is_some", [get(MAYBE)], BOOL),
                lambda: self.pure("contains", [get(TEXT), get(TEXT)], BOOL),
                lambda: self.pure("lt", [self.pure("floordiv", [get(INT), get(INT)], INT), get(INT)], BOOL)],
            TEXTS: [
                lambda: self.pure("list", [get(TEXT) for _ in range(pick.randint(1, 3))], TEXTS),
                lambda: self.pure("reverse", [get(TEXTS)], TEXTS), lambda: self.pure("words", [get(TEXT)], TEXTS),
                lambda: self.pure("add", [get(TEXTS), get(TEXTS)], TEXTS)],
            INTS: [
                lambda: self.pure("list", [get(INT), get(INT)], INTS),
                lambda: self.pure("range", [self.pure("mod", [get(INT), self.three()], INT)], INTS)],
            CARD: [lambda: self.pure("record", [get(TEXT), get(INT), get(TEXT)], CARD)],
            CARDS: [lambda: self.pure("list", [get(CARD), get(CARD)], CARDS)],
            MAYBE: [
                lambda: self.pure("index", [get(TEXTS), get(INT)], MAYBE),
                lambda: self.pure("some", [get(TEXT)], MAYBE)],
        }
        return pick.choice(makers[type])()

    def three(self) -> Value:
        return self.add("flow.const", [3], [INT])[0]

    # ---- prompts ----

    def prompt(self) -> Value:
        known = self.some(PROMPT)
        return known if known is not None and self.random.random() < 0.7 else self.add("prompt.start", [], [PROMPT])[0]

    def append(self) -> Value:
        prompt = self.prompt()
        if self.random.random() < 0.5:
            return self.add("prompt.append", [prompt, self.random.choice(WORDS)], [PROMPT])[0]
        space: dict[str, Literal] = {"space": True} if self.random.random() < 0.3 else {}
        return self.add("prompt.append", [prompt, self.value(TEXT)], [PROMPT], space)[0]

    def generate(self, type: Type | None = None) -> Value:
        pick = self.random
        attributes: dict[str, Literal] = {"output": pick.choice(["x", "y"]), "max_tokens": pick.randint(1, 4)}
        args: list[object] = [self.append() if pick.random() < 0.5 else self.prompt()]
        if pick.random() < 0.2:
            attributes["options"] = ("temperature",)
            args.append(self.add("flow.const", [pick.choice([0.0, 0.7])], [FLOAT])[0])
        elif pick.random() < 0.4:
            attributes["temperature"] = 0.8
        if "temperature" in attributes or "options" in attributes:
            self.maker.calls += 1
            attributes["stream"] = f"Main/F#{self.maker.calls}"
            attributes["indices"] = len(self.indices)
            args += self.indices
        if type is None:
            type = pick.choice([TEXT, TEXT, TEXT, BOOL])
            if pick.random() < 0.2:
                attributes["n"] = 2
                type = List(type)
        return self.add("prompt.generate", args, [type, PROMPT], attributes)[0]

    def note(self) -> None:
        _, self.effect = self.add("flow.host", [Symbol(EFFECTFUL_HOST), self.value(TEXT), self.effect], [TEXT, EFFECT])

    # ---- regions ----

    def finish(self, types: list[Type], effect: bool) -> Region:
        yielded = [self.latest(t) if self.random.random() < 0.6 else self.value(t) for t in types]
        assert not effect or self.effect is not None
        self.ops.append(Op("flow.yield", [*yielded, *([self.effect] if effect and self.effect else [])]))
        return Region([], self.ops)

    def size(self) -> int:
        return self.random.randint(0, 4)

    def takes_effect(self) -> bool:
        return self.effect is not None and self.random.random() < 0.4

    def kinds(self, most: int = 3) -> list[Type]:
        return [self.random.choice((*PLAIN, PROMPT)) for _ in range(self.random.randint(1, most))]

    def leave(self, name: str, args: list[object], types: list[Type], effect: bool, regions: list[Region],
              **attributes: Literal) -> None:
        results = self.add(name, [*args, *([self.effect] if effect else [])], [*types, *([EFFECT] if effect else [])],
                           attributes, regions)
        if effect:
            self.effect = results[-1]

    def map(self, given: list[Value] | None = None) -> None:
        count = self.random.choice([1, 1, 2])
        lists = given or [self.value(self.random.choice([TEXTS, INTS, CARDS, TEXTS])) for _ in range(count)]
        effect, index = self.takes_effect(), Value(INT)
        parameters = [index, *(Value(v.type.element) for v in lists if isinstance(v.type, List))]
        token = Value(EFFECT) if effect else None
        body = self.inner(parameters, token, index)
        body.fill(self.size())
        types = [t for t in self.kinds(2) if t != PROMPT and not isinstance(t, (List, Option))] or [TEXT]
        region = body.finish(types, effect)
        region.parameters = [*parameters, *([token] if token else [])]
        self.leave("flow.for", list(lists), [List(t) for t in types], effect, [region])

    def fold(self, given: list[Value] | None = None) -> None:
        count = self.random.choice([1, 1, 2])
        lists = given or [self.value(self.random.choice([TEXTS, CARDS])) for _ in range(count)]
        effect, index, types = self.takes_effect(), Value(INT), self.kinds()
        initial = [self.value(t) for t in types]
        parameters = [index, *(Value(v.type.element) for v in lists if isinstance(v.type, List)), *map(Value, types)]
        token = Value(EFFECT) if effect else None
        body = self.inner(parameters, token, index)
        body.fill(self.size())
        region = body.finish(types, effect)
        region.parameters = [*parameters, *([token] if token else [])]
        self.leave("flow.fold", [*lists, *initial], types, effect, [region], lists=len(lists))

    def loop(self) -> None:
        types, turn = self.kinds(), Value(INT)
        limit = self.add("flow.const", [self.random.randint(0, 3)], [INT])[0]
        initial = [self.value(t) for t in types]
        effect = self.takes_effect()
        held, carried = [Value(t) for t in types], [Value(t) for t in types]
        tokens = [Value(EFFECT), Value(EFFECT)] if effect else [None, None]
        condition = self.inner(held, None)
        condition.depth = 0
        condition.ops.append(Op("flow.yield", [condition.value(BOOL, fresh=True)]))
        body = self.inner([turn, *carried], tokens[1], turn)
        body.fill(self.size())
        second = body.finish(types, effect)
        second.parameters = [turn, *carried, *([tokens[1]] if tokens[1] else [])]
        first = Region([*held, *([tokens[0]] if tokens[0] else [])], condition.ops)
        self.leave("flow.loop", [limit, *initial], types, effect, [first, second])

    def branch(self) -> None:
        condition, effect, types = self.value(BOOL), self.takes_effect(), self.kinds()
        regions = []
        for _ in range(2):
            body = self.inner([], self.effect if effect else None)
            body.fill(self.size())
            regions.append(body.finish(types, effect))
        self.leave("flow.if", [condition], types, effect, regions)

    # ---- shapes that passes look for ----

    def repeat(self) -> None:
        """An operation of this region once more."""
        able = [op for op in self.ops[-8:] if op.results and all(v.type != EFFECT for v in (*op.operands, *op.results))]
        if able:
            copied = clone(self.random.choice(able), {})
            self.ops.append(copied)
            self.scope += copied.results

    def chain(self) -> None:
        """A loop over what a loop gives, or a fold of it."""
        self.map()
        made = [r for r in self.ops[-1].results if r.type in (TEXTS, INTS, CARDS)]
        self.random.choice([self.map, self.fold])(made[-1:] * self.random.choice([1, 1, 2]) or None)

    def agree(self) -> None:
        """Branches that yield the same, or true and false, on a condition that may fail."""
        zero = self.pure("floordiv", [self.value(INT), self.value(INT)], INT)
        condition = self.pure("lt", [zero, self.value(INT)], BOOL)
        type = self.random.choice(PLAIN)
        same = self.value(type)
        regions = []
        for choice in (True, False):
            truth = Value(BOOL)
            constant = Op("flow.const", [choice], [truth])
            regions.append(Region([], [constant, Op("flow.yield", [same, truth])]))
        self.leave("flow.if", [condition], [type, BOOL], False, regions)

    def nested(self) -> None:
        """A loop over a list inside a loop over the same list."""
        xs = self.value(TEXTS)
        outer, inner = [Value(INT), Value(TEXT)], [Value(INT), Value(TEXT)]
        body = self.inner(outer, None, outer[0])
        body.pure("upper", [outer[1]], TEXT)
        deep = body.inner(inner, None, inner[0])
        deep.pure("concat", [outer[1], deep.pure("upper", [inner[1]], TEXT)], TEXT)
        deep.fill(1)
        region = deep.finish([TEXT], False)
        region.parameters = inner
        body.leave("flow.for", [xs], [TEXTS], False, [region])
        body.pure("join", [body.latest(TEXTS)], TEXT)
        region = body.finish([TEXT, TEXTS], False)
        region.parameters = outer
        self.leave("flow.for", [xs], [TEXTS, List(TEXTS)], False, [region])

    def attempt(self) -> None:
        operand = self.value(self.random.choice(PLAIN))
        effect = self.takes_effect()
        body = self.inner([], self.effect if effect else None)
        body.fill(self.size())
        self.leave("flow.try", [operand], [operand.type], effect, [body.finish([operand.type], effect)])


def host(name: str, *, pure: bool) -> Op:
    """The declaration of a host from text to text in the module `module_hosts`."""
    attributes: dict[str, Literal] = {"target": f"module_hosts:{name}", "parameters": Table((("x", TEXT),)),
                                      "result": TEXT}
    return Op("sem.host", [Symbol(name)], [], attributes | ({"pure": True} if pure else {}))
