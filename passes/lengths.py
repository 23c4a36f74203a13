"""Bounds of every value and prompt of a module: bytes, tokens, elements and turns, before anything runs.

`Lengths(module, target)` is the way in for passes, `explain` and predictions of peak memory. One walk in textual
order; the body of a fold or loop is looked at again until what it carries is bounded. Sizes that grow with every
turn are bounded by the number of turns: a carried prompt by its growth per turn, other values by their type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..ir.core import Arg, Module, Op, Region, TokenList, Value
from ..ir.target import Target
from ..ir.types import Ctx, Prompt
from ..ir.values import constant_value
from .context_bounds import ContextBounds, grown
from .effects import names_of
from .intervals import ANY, ZERO, Interval
from .prompt_facts import PromptFacts
from .pure_bounds import pure_bounds
from .regions import carried_parameters, first_carried, fold_lists, iterated
from .shared_analyses import shared
from .token_bounds import OutputBounds, TokenBounds
from .value_bounds import UNKNOWN, Bounds, constant_bounds, list_bounds, type_bounds

UNBOUNDED = ContextBounds()
PATIENCE = 2
"""Loops nested more deeply than this are looked at once only, with bounds from types."""


class Lengths:
    """Bounds by value and by generate, for the models of `target`; without a tokenizer tokens have few bounds.

    `given`: bounds of values that the caller knows, such as parameters of the program.
    """

    def __init__(self, module: Module, target: Target, given: Mapping[Value, Bounds] | None = None) -> None:
        self._target = target
        self._facts = PromptFacts(module.ops)
        self._bounds: dict[Value, Bounds] = dict(given or {})
        self._contexts: dict[Value, ContextBounds] = {}
        self._outputs: dict[Op, OutputBounds] = {}
        self._turns: dict[Op, Interval] = {}
        self._token_bounds: dict[str | None, TokenBounds] = {}
        self._depth = 0
        for op in module.ops:
            for region in op.regions:
                self._enter(region)

    # ---- what is known ----

    def of(self, value: Value) -> Bounds:
        """Bytes, elements and parts of a value."""
        return self._bounds.get(value) or type_bounds(value.type)

    def context(self, value: Value) -> ContextBounds:
        """Tokens of a prompt or context."""
        return self._contexts.get(value, UNBOUNDED)

    def output(self, generate: Op) -> OutputBounds:
        """Bounds of what a generate decodes, for one sample."""
        return self._outputs[generate]

    def turns(self, loop: Op) -> Interval:
        """How often the body of a `flow.for`, `flow.fold` or `flow.loop` runs each time that it is reached."""
        return self._turns[loop]

    def tokens(self, value: Value, prompt: Value | None = None, *, space: bool = False) -> Interval:
        """Tokens of a value as a piece after `prompt` (under the default model when None)."""
        if prompt is None:
            return self._under("").piece(self.of(value), space=space, first=None)
        return self._of_prompt(prompt).piece(self.of(value), space=space, first=self._facts[prompt].is_start)

    def piece(self, fill: Op, number: int) -> Interval:
        """Tokens of a piece of an `engine.fill`."""
        before = fill.args[0]
        first = number == 0 and (self._facts[before].is_start if isinstance(before, Value) else True)
        spaced = fill.attributes.get("spaced", ())
        assert isinstance(spaced, tuple)
        return self._piece(self._of_prompt(fill.result), fill.args[1 + number], number in spaced, first)[0]

    def model(self, prompt: Value) -> str | None:
        """The model alias of a prompt; None where the run decides."""
        return self._facts[prompt].model

    # ---- the walk ----

    def _enter(self, region: Region) -> None:
        for op in region.ops[:-1]:
            self._visit(op)

    def _visit(self, op: Op) -> None:
        match op.name:
            case "prompt.append":
                self._append(op, op.results[0], op.args[1], bool(op.attributes.get("space")))
            case "prompt.generate" | "engine.generate":
                self._generate(op)
            case "engine.fill":
                self._fill(op)
            case "flow.const":
                self._constant(op)
            case "flow.pure":
                self._bounds[op.result] = pure_bounds(op, [self.of(v) for v in op.operands])
            case "flow.if":
                self._if(op)
            case "flow.try":
                self._enter(op.regions[0])
                self._join_results(op, [op.args, op.regions[0].terminator.args])
            case "flow.for":
                self._for(op)
            case "flow.fold" | "flow.loop":
                self._carry(op)
            case "prompt.start":
                self._contexts[op.result] = self._empty(op.result)

    def _constant(self, op: Op) -> None:
        literal = op.args[0]
        if not isinstance(literal, Value | TokenList):
            self._bounds[op.result] = constant_bounds(constant_value(literal, op.result.type), op.result.type)

    def _under(self, alias: str | None) -> TokenBounds:
        found = self._token_bounds.get(alias)
        if found is None:
            tokenizer = self._target.model(alias).tokenizer if alias is not None else None
            found = self._token_bounds[alias] = TokenBounds(tokenizer)
        return found

    def _of_prompt(self, prompt: Value) -> TokenBounds:
        return self._under(self._facts[prompt].model)

    def _empty(self, prompt: Value) -> ContextBounds:
        """An empty prompt holds BOS, where its model has one; unknown without a tokenizer."""
        tokenizer = self._of_prompt(prompt).tokenizer
        if tokenizer is None:
            return ContextBounds(ZERO.join(Interval.exactly(1)))
        bos = 0 if tokenizer.bos_id is None else 1
        return ContextBounds(Interval.exactly(bos), constants=bos)

    def _append(self, op: Op, result: Value, piece: Arg, space: bool) -> None:
        before = op.args[0]
        assert isinstance(before, Value)
        fact = self._facts[before]
        tokens, kind = self._piece(self._under(fact.model), piece, space, fact.is_start)
        self._contexts[result] = self.context(before).plus(tokens, kind)

    def _piece(self, under: TokenBounds, piece: Arg, space: bool, first: bool | None) -> tuple[Interval, str]:
        """Tokens of a piece, and which part of the arithmetic they belong to."""
        match piece:
            case TokenList(ids):
                return Interval.exactly(len(ids)), "constants"
            case str():
                return under.constant(" " + piece if space else piece, first), "constants"
            case Value():
                return under.piece(self.of(piece), space=space, first=first), "values"
            case _:
                return ANY, "constants"

    def _fill(self, op: Op) -> None:
        before = op.args[0]
        context = self.context(before) if isinstance(before, Value) else self._empty(op.result)
        first = self._facts[before].is_start if isinstance(before, Value) else True
        spaced = op.attributes.get("spaced", ())
        assert isinstance(spaced, tuple)
        under = self._of_prompt(op.result)
        for number, piece in enumerate(op.args[1:]):
            context = context.plus(*self._piece(under, piece, number in spaced, first))
            first = False
        self._contexts[op.result] = context

    def _generate(self, op: Op) -> None:
        prompt = op.args[0]
        assert isinstance(prompt, Value)
        names = names_of(op.attributes.get("options"))
        options = {n: self.of(a) for n, a in zip(names, op.args[1:], strict=False) if isinstance(a, Value)}
        output = self._outputs[op] = self._of_prompt(prompt).output(op, options)
        several = "n" in op.attributes or "n" in options
        samples = op.attributes.get("n")
        count = Interval.exactly(samples) if isinstance(samples, int) else Interval()
        self._bounds[op.results[0]] = list_bounds(count, output.value) if several else output.value
        context = self.context(prompt)
        self._contexts[op.results[1]] = context if several else context.plus(output.kept, "outputs")

    def _if(self, op: Op) -> None:
        for region in op.regions:
            self._enter(region)
        self._join_results(op, [region.terminator.args for region in op.regions])

    def _join_results(self, op: Op, sources: list[list[Arg]]) -> None:
        for number, result in enumerate(op.results):
            self._become(result, [args[number] for args in sources])

    def _become(self, target: Value, sources: Iterable[Arg]) -> None:
        """`target` is one of `sources`."""
        values = [s for s in sources if isinstance(s, Value)]
        if isinstance(target.type, Prompt | Ctx):
            contexts = [self.context(v) for v in values]
            joined = contexts[0]
            for context in contexts[1:]:
                joined = joined.join(context)
            self._contexts[target] = joined
        else:
            bounds = [self.of(v) for v in values]
            whole = bounds[0]
            for other in bounds[1:]:
                whole = whole.join(other)
            self._bounds[target] = whole

    # ---- loops ----

    def _count(self, lists: Iterable[Arg]) -> Interval:
        """As many as the shortest of `lists` has."""
        low: int | None = None
        high: int | None = None
        for list_ in lists:
            count = self.of(list_).count if isinstance(list_, Value) else None
            count = count or ANY
            low = count.low if low is None else min(low, count.low)
            high = count.high if high is None else high if count.high is None else min(high, count.high)
        return Interval(low or 0, high)

    def _elements(self, op: Op) -> None:
        """The index and the elements of a turn."""
        lists, body = iterated(op), op.regions[0]
        turns = self._turns[op]
        last = None if turns.high is None else max(0, turns.high - 1)
        size = Interval(1, 20 if last is None else len(str(last)))
        self._bounds[body.parameters[0]] = Bounds(size, size, number=Interval(0, last))
        for list_, parameter in zip(lists, body.parameters[1:], strict=False):
            element = self.of(list_).element if isinstance(list_, Value) else None
            self._bounds[parameter] = element or type_bounds(parameter.type)

    def _for(self, op: Op) -> None:
        turns = self._turns[op] = self._count(iterated(op))
        self._elements(op)
        self._depth += 1
        self._enter(op.regions[0])
        self._depth -= 1
        for result, yielded in zip(op.results, op.regions[0].terminator.args, strict=True):
            element = self.of(yielded) if isinstance(yielded, Value) else UNKNOWN
            self._bounds[result] = list_bounds(turns, element)

    def _carry(self, op: Op) -> None:
        """Bound what a fold or loop carries."""
        if op.name == "flow.fold":
            self._turns[op] = self._count(op.args[: fold_lists(op)])
            self._elements(op)
        else:
            limit = self.of(op.operands[0]).number
            turns = self._turns[op] = Interval(0, limit.high if limit is not None else None)
            last = None if turns.high is None else max(0, turns.high - 1)
            size = Interval(1, 20 if last is None else len(str(last)))
            self._bounds[op.regions[1].parameters[0]] = Bounds(size, size, number=Interval(0, last))
        self._depth += 1
        if self._depth > PATIENCE:
            self._begin(op, by_type=True, contexts=None)
            self._run(op)
        else:
            self._iterate(op)
        self._depth -= 1
        start = first_carried(op)
        body = op.regions[-1].terminator.args
        for number, result in enumerate(op.results):
            sources = [body[number]] if self._turns[op].low > 0 else [op.args[start + number], body[number]]
            self._become(result, sources)

    def _run(self, op: Op) -> None:
        for region in op.regions:
            self._enter(region)

    def _iterate(self, op: Op) -> None:
        """Look at the body with the initial values, with types for what changes, then with prompts as they grow."""
        initial = [a for a in op.args[first_carried(op) :] if isinstance(a, Value)]
        contexts = [self.context(v) for v in initial]
        self._begin(op, by_type=False, contexts=contexts)
        self._run(op)
        yielded = [a for a in op.regions[-1].terminator.args if isinstance(a, Value)]
        if not all(_covers(self.of(a), self.of(b)) for a, b in zip(initial, yielded, strict=True)):
            self._begin(op, by_type=True, contexts=contexts)
            self._run(op)
        prompts = [n for n, v in enumerate(initial) if isinstance(v.type, Prompt | Ctx)]
        if prompts:
            after = [self.context(yielded[n]) for n in prompts]
            bounds = grown([contexts[n] for n in prompts], after, self._turns[op].high)
            for number, bound in zip(prompts, bounds, strict=True):
                for parameter in carried_parameters(op, number):
                    self._contexts[parameter] = bound
            self._run(op)

    def _begin(self, op: Op, *, by_type: bool, contexts: list[ContextBounds] | None) -> None:
        """Give the carried parameters bounds to begin with."""
        start = first_carried(op)
        for number in range(len(op.results)):
            initial = op.args[start + number]
            for parameter in carried_parameters(op, number):
                if isinstance(parameter.type, Prompt | Ctx):
                    self._contexts[parameter] = contexts[number] if contexts is not None else ContextBounds()
                elif by_type or not isinstance(initial, Value):
                    self._bounds[parameter] = type_bounds(parameter.type)
                else:
                    self._bounds[parameter] = self.of(initial)


def lengths_of(module: Module, target: Target) -> Lengths:
    """The bounds of a module. Passes that change no values have them in common (`shared_analyses`)."""
    return shared(module, target, "lengths", Lengths)


def _covers(outer: Bounds, inner: Bounds) -> bool:
    """Whether everything that is said of a value of `outer` holds of one of `inner`."""
    return outer.join(inner) == outer
