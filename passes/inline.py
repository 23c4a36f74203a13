"""`inline`: programs and semantic functions into the root program."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ..ir.core import Arg, Module, Op, Region, Value, copy_value, walk
from ..ir.definition import HIGH, Level
from ..ir.diagnostics import InputError
from ..ir.target import Target
from ..ir.types import List, Text
from .base import Pass, Report
from .call_site import CallSite, enter
from .chat_models import FREE, ModelUse, resolve_models
from .effects import GENERATES, is_greedy
from .root_program import root_program


@dataclass(frozen=True)
class Inline(Pass):
    """Programs and semantic functions become one dataflow region, the root program.

    Each call is replaced by a copy of its callee's body, so the copies are as many as the calls that the run would
    make: nothing is evaluated twice or less. The tokens before an output are those of the callee's chain of appends,
    piece by piece, on the same operands. The stream key of an output is its path, `Root/callee#ordinal/…`, and the
    indices of every iteration around the call, outermost first: both are fixed by the source before any pass runs.
    `with` options and model aliases are written onto the copies. A greedy output has no random stream, so its key is
    dropped: equal greedy calls become equal operations. Copies carry their call chain as location.

    Declarations of enums, records, models and hosts stay; functions and other programs go. Time is linear in the
    size of the result.

    ```before
    sem.func(@F) |%x: text| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, %x) : prompt
      %y, %2 = prompt.generate(%1) {output = "y", temperature = 0.5, stream = ""} : text, prompt
      sem.return(%y, %2) {names = ["y"]}
    }
    sem.program(@M) |%xs: list<text>| {
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %y, %chat = sem.call(@F, %x, %i) {ordinal = 0, indices = 1} : text, prompt
        flow.yield(%y)
      } : list<text>
      sem.return(%ys) {names = ["ys"]}
    }
    ```

    ```after
    sem.program(@M) |%xs: list<text>| {
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, %x) : prompt
        %y, %2 = prompt.generate(%1, %i) {output = "y", temperature = 0.5, indices = 1, stream = "M/F#0"} : text, prompt
        flow.yield(%y)
      } : list<text>
      sem.return(%ys) {names = ["ys"]}
    }
    ```

    A greedy output loses its key:

    ```before
    sem.func(@Shorten) |%x: text| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, %x) : prompt
      %y, %2 = prompt.generate(%1) {output = "y", stream = ""} : text, prompt
      sem.return(%y, %2) {names = ["y"]}
    }
    sem.program(@Main) |%a: text| {
      %y, %chat = sem.call(@Shorten, %a) {ordinal = 0, with = {max_tokens = 8}} : text, prompt
      sem.return(%y) {names = ["y"]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, %a) : prompt
      %y, %2 = prompt.generate(%1) {output = "y", max_tokens = 8} : text, prompt
      sem.return(%y) {names = ["y"]}
    }
    ```
    """

    name: ClassVar[str] = "inline"
    levels: ClassVar[frozenset[Level]] = HIGH
    gives: ClassVar[Level | None] = Level.PROMPT

    program: str = ""
    """The root program; the only one that no other calls unless given."""

    def run(self, module: Module, target: Target) -> Report:
        """Raises InputError when the root is unclear, or when a call continues a chat of another model."""
        root = root_program(module, self.program)
        inliner = _Inliner(module, root)
        inliner.run()
        module.ops = [op for op in module.ops if op.name not in ("sem.func", "sem.program")] + [inliner.result]
        resolve_models(inliner.result, inliner.model_uses)
        dropped = _drop_greedy_keys(inliner.result)
        return Report(f"{inliner.calls} calls inlined into {root.symbol}, {dropped} greedy outputs without a key",
                      {"calls": inliner.calls, "greedy": dropped})


@dataclass(slots=True)
class _Frame:
    """A list of operations that is being copied to the end of another one."""

    source: Iterator[Op]
    copies: list[Op]
    site: CallSite
    call: Op | None = None
    """The call that this body replaces; None inside a region."""
    caller: CallSite | None = None


@dataclass
class _Inliner:
    """Copies the root's body; where it meets a call it goes on in the callee's body. The stack is explicit."""

    module: Module
    root: Op
    calls: int = 0
    model_uses: list[ModelUse] = field(default_factory=list)
    result: Op = field(init=False)

    def __post_init__(self) -> None:
        self._callees = {op.symbol: op for op in self.module.ops if op.name in ("sem.func", "sem.program")}
        self._starts: dict[Value, Op] = {}

    def run(self) -> None:
        """Fill `result`, the root with everything inlined."""
        root, site = self.root, CallSite(stream=self.root.symbol, is_root=True)
        body = self.root.regions[0]
        region = Region([copy_value(p, site.mapping) for p in body.parameters])
        self.result = Op(root.name, list(root.args), [], dict(root.attributes), [region], root.location)
        stack = [_Frame(iter(body.ops), region.ops, site)]
        while stack:
            frame = stack[-1]
            op = next(frame.source, None)
            if op is None:
                stack.pop()
            elif op.name == "sem.call":
                stack.append(self._enter(op, frame))
            elif op.name == "sem.return" and frame.call is not None:
                _bind_results(frame, op)
                stack.pop()
            else:
                copied = self._copy(op, frame)
                if not op.regions:
                    continue
                for region, target in zip(reversed(op.regions), reversed(copied.regions), strict=True):
                    stack.append(_Frame(iter(region.ops), target.ops, frame.site))

    def _enter(self, call: Op, frame: _Frame) -> _Frame:
        """The body of the callee, its parameters bound to the call's operands."""
        self.calls += 1
        callee = self._callees.get(call.symbol)
        if callee is None:
            raise InputError.of("E0930", f"{call.location}: there is no function or program `{call.symbol}`")
        site = enter(call, callee, frame.site)
        for parameter, argument in zip(callee.regions[0].parameters, site.inputs, strict=True):
            if not isinstance(argument, Value):
                constant = Op("flow.const", [argument], [Value(parameter.type, parameter.name)], location=site.location)
                frame.copies.append(constant)
                argument = constant.result
            if site.model is not None and callee.name == "sem.func":
                argument = self._own_start(argument, site, frame)
                self.model_uses.append(ModelUse(argument, site.model, call.symbol, site.location))
            site.mapping[parameter] = argument
        return _Frame(iter(callee.regions[0].ops), frame.copies, site, call, frame.site)

    def _own_start(self, argument: Value, site: CallSite, frame: _Frame) -> Value:
        """A call that names its model gets an empty chat of its own, as the same one may go to other models."""
        start = self._starts.get(argument)
        if start is None:
            return argument
        copied = Op(start.name, [], [Value(argument.type, argument.name)], {FREE: True}, [], start.location)
        frame.copies.append(copied)
        self._starts[copied.result] = copied
        return copied.result

    def _copy(self, op: Op, frame: _Frame) -> Op:
        """A copy of `op` with empty regions, appended to the frame's copies."""
        site = frame.site
        mapping = site.mapping
        results: list[Value] = []
        copied = Op(
            op.name, [mapping.get(a, a) if isinstance(a, Value) else a for a in op.args], results, op.attributes.copy(),
            [Region([copy_value(p, mapping) for p in r.parameters]) for r in op.regions] if op.regions else [],
            op.location if site.is_root else op.location.called_from(site.location))
        for result in op.results:
            mapping[result] = value = Value(result.type, result.name)
            results.append(value)
        if op.name in GENERATES and not site.is_root:
            _override(copied, site)
        elif op.name == "prompt.start":
            if site.is_function and site.model:
                copied.attributes["model"] = site.model
            elif not site.is_function and "model" not in op.attributes:
                copied.attributes[FREE] = True
                self._starts[copied.result] = copied
        frame.copies.append(copied)
        return copied


def _bind_results(frame: _Frame, returned: Op) -> None:
    """What the callee returns stands for the results of its call."""
    assert frame.call is not None and frame.caller is not None
    if len(returned.args) != len(frame.call.results):
        raise InputError.of("E0931", f"{frame.call.location}: the call of `{frame.call.symbol}` has "
                            f"{len(frame.call.results)} results, but it returns {len(returned.args)}")
    for result, argument in zip(frame.call.results, returned.args, strict=True):
        if not isinstance(argument, Value):
            constant = Op("flow.const", [argument], [Value(result.type, result.name)], location=returned.location)
            frame.copies.append(constant)
            argument = constant.result
        frame.caller.mapping[result] = frame.site.mapping.get(argument, argument)


def _override(generate: Op, site: CallSite) -> None:
    """Write the call's options, stream path and indices onto a copied generate."""
    attributes = generate.attributes
    names = attributes.pop("options", ())
    assert isinstance(names, tuple)
    count = len(names)
    operands: dict[str, Arg] = {str(n): a for n, a in zip(names, generate.args[1 : 1 + count], strict=True)}
    for name, argument in site.options.items():
        if name in ("stop", "max_words") and not _gives_text(generate):
            continue
        operands.pop(name, None)
        attributes.pop(name, None)
        if isinstance(argument, Value):
            operands[name] = argument
        else:
            attributes[name] = argument
        if name == "n" and "n" not in names and not isinstance(generate.results[0].type, List):
            generate.results[0].type = List(generate.results[0].type)
    indices = [*site.indices, *generate.args[1 + count :]]
    generate.args = [generate.args[0], *operands.values(), *indices]
    if operands:
        attributes["options"] = tuple(operands)
    attributes.pop("indices", None)
    if indices:
        attributes["indices"] = len(indices)
    inner = attributes.get("stream")
    attributes["stream"] = f"{site.stream}/{inner}" if inner else site.stream


def _gives_text(generate: Op) -> bool:
    type = generate.results[0].type
    return isinstance(type.element if isinstance(type, List) and "n" in generate.attributes else type, Text)


def _drop_greedy_keys(root: Op) -> int:
    """Take stream path and indices from greedy generates, which have no random stream."""
    dropped = 0
    for op in walk([root]):
        if op.name in GENERATES and is_greedy(op):
            dropped += drop_key(op)
    return dropped


def drop_key(generate: Op) -> bool:
    """Remove the stream key of a generate that turned out to be greedy; whether it had one."""
    indices = generate.attributes.pop("indices", 0)
    stream = generate.attributes.pop("stream", None)
    if isinstance(indices, int) and indices:
        del generate.args[-indices:]
    return bool(indices) or stream is not None
