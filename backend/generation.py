"""Runs `engine.fill` and `engine.generate`: options, random streams, samples, and what a finished output becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.core import Op
from ..ir.reading import parse_value
from ..ir.target import TokenizerError
from ..ir.types import List, Map, Record, Text, Type
from ..ir.values import Failure
from .cells import Cell, PartialList, force
from .contexts import Context, TokenChain, encode, extended, fill, fill_attributes, is_root
from .engine import Callbacks, EngineError, Generation, Priority, SamplingOptions, TokenLogprob
from .failures import FailureKind, failure
from .generate_options import OptionError, budget, read_options
from .handover import TextStream
from .pure_regions import first_failure
from .random_stream import stream_key
from .region_instance import OpTask
from .run_log import LoggedCall


@dataclass(frozen=True)
class CallRecord:
    """One generate as it ran: where it was written, its random stream, and its tokens.

    `prompt_ids`: without BOS; `output_ids`: every token that was sampled or forced;
    `context_ids`: what the context keeps of the output.
    """

    site: str
    output: str
    stream: str
    indices: tuple[int, ...]
    sample: int
    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    context_ids: tuple[int, ...]


def run_fill(task: OpTask) -> None:
    """`engine.fill`: gives the context at once, its tokens may be computed later."""
    op = task.op
    pieces = [force(value) for value in task.raw_operands()]
    failed = first_failure(pieces)
    handovers = task.run.handovers
    if failed is not None:
        if handovers is not None:
            handovers.done(task)
        task.finish(failed)
        return
    parent = None if is_root(pieces[0]) else pieces[0]
    binding = parent.binding if parent is not None else task.run.binding(str(op.attributes.get("model") or ""))
    observations = task.run.plan.observations
    spaced, roles = fill_attributes(op)
    context: Context | Failure
    try:
        encoded = encode(binding, parent, pieces[1:], spaced=spaced, roles=roles,
                         measure=lambda piece, count: observations.see("piece_tokens", op, count, piece))
        chunk = handovers.finish(task, encoded.ids) if handovers is not None else None
        context = fill(binding, parent, encoded, label=str(op.location), hint=task.run.hint(task),
                       resident=(chunk.identifier, chunk.end) if chunk is not None else None)
        if task.run.trace is not None:
            task.run.trace.fill(op, context.identifier)
    except (EngineError, TokenizerError) as error:
        context = failure(op, str(error), FailureKind.ENGINE)
    if handovers is not None:
        handovers.done(task)
    task.finish(context)


def run_generate(task: OpTask) -> None:
    """`engine.generate`: `n` calls from one context; a failed sample is a failed element."""
    op = task.op
    operands = [force(value) for value in task.raw_operands()]
    failed = first_failure(operands)
    if failed is None:
        names = op.attributes.get("options") or ()
        assert isinstance(names, tuple)
        given = dict(zip(map(str, names), operands[1:], strict=False))
        try:
            Request(task, operands[0], read_options(op, given), tuple(operands[1 + len(names) :])).submit()
            return
        except OptionError as error:
            failed = failure(op, str(error), FailureKind.OPTION)
    task.finish(*[failed] * len(op.results))


class Request:
    """A generate operation whose operands are known: the calls of its samples."""

    def __init__(self, task: OpTask, context: Context, options: Mapping[str, Any], indices: tuple[int, ...]) -> None:
        self.task = task
        self.context: Context | None = context
        self.indices = indices
        self.options = options
        self.has_samples = options.get("n") is not None
        self.samples: int = options.get("n") or 1
        self.open = self.samples
        result = task.op.results[0].type
        self.type = result.element if self.has_samples and isinstance(result, List) else result
        self.cells = [[Cell() for _ in range(self.samples)] for _ in task.op.results[::2]] if self.has_samples else []

    def submit(self) -> None:
        """Send every sample to the engine."""
        parent = self.context
        assert parent is not None
        observations = self.task.run.plan.observations
        observations.see("samples", self.task.op, self.samples)
        observations.see("budget", self.task.op, budget(self.options.get("max_tokens"), self.type))
        if self.has_samples:
            results: list[Any] = [PartialList(cells) for cells in self.cells]
            results.insert(1, parent)
            self.task.give(results)
        for sample in range(self.samples):
            Call(self, parent, sample).submit()
        self.context = None

    def sampling(self, sample: int) -> SamplingOptions:
        """The options of one sample."""
        options, op = self.options, self.task.op
        temperature = options.get("temperature", 0.0)
        key = None
        if temperature > 0:
            seed = options.get("seed")
            key = stream_key(self.task.run.seed if seed is None else seed, str(op.attributes.get("stream") or ""),
                             self.indices, str(op.attributes["output"]), sample)
        choices = options.get("choices")
        return SamplingOptions(
            max_tokens=budget(options.get("max_tokens"), self.type), max_words=options.get("max_words"),
            temperature=temperature, top_p=options.get("top_p", 1.0), top_k=options.get("top_k", 0),
            min_p=options.get("min_p", 0.0), stop=tuple(options.get("stop", ())), regex=options.get("regex"),
            choices=None if choices is None else tuple(dict.fromkeys(choices)), type=self.type,
            logprobs=options.get("logprobs"), stream_key=key,
            strip_leading_space=bool(op.attributes.get("strip_space")), ignore_eos=self.task.run.ignore_eos)

    def sample_done(self, sample: int, value: Any, context: Any, logprobs: Any) -> None:
        """Hand on what one sample gave: a value, its context, log-probabilities; or the failure three times."""
        task = self.task
        if self.has_samples:
            for cells, result in zip(self.cells, (value, logprobs), strict=False):
                cells[sample].set(result)
        else:
            task.give((value, context, logprobs)[: len(task.op.results)])
        self.open -= 1
        if self.open == 0:
            task.done()


class Call:
    """One generate on an engine."""

    def __init__(self, request: Request, parent: Context, sample: int) -> None:
        self.request = request
        self.sample = sample
        self.binding = parent.binding
        self.prompt_tokens = parent.length
        self.prompt_chain = parent.chain
        self.parent_identifier = parent.identifier
        self.context: Context | None = extended(self.binding, parent, (), roles=parent.roles)
        self.identifier = self.context.identifier
        self.started = request.task.run.now()
        self.place = request.task.instance.place

    @property
    def op(self) -> Op:
        """The operation."""
        return self.request.task.op

    def submit(self) -> None:
        """Send the call to the engine; `finished` or `failed` follows in the run's own thread."""
        run, op = self.request.task.run, self.op
        sampling = self.request.sampling(self.sample)
        self.stream = self._begin_stream()
        on_text: Callable[[str], None] | None = None
        if run.on_event is not None or self.stream is not None:
            on_text = self._text
        callbacks = Callbacks(lambda generation: run.report(self, self.finished, generation),
                              lambda error: run.report(self, self.failed, error), on_text)
        run.call_started(self)
        if run.progress is not None:
            run.progress.started(self.request.task)
        priority = priority_of(self.request.task)
        self.binding.log.note(LoggedCall(self.binding.number, self.identifier, self.parent_identifier,
                                         sampling.max_tokens, priority))
        self.binding.engine.generate(sampling, self.identifier, self.parent_identifier, callbacks, priority=priority,
                                     label=str(op.location))

    def _begin_stream(self) -> TextStream | None:
        """The stream that prompts may follow, where the result is a text."""
        handovers, task = self.request.task.run.handovers, self.request.task
        if handovers is None or self.request.has_samples or not isinstance(self.request.type, Text):
            return None
        cell = task.instance.slots[task.layout.results[0]]
        return handovers.begin(cell) if isinstance(cell, Cell) else None

    def _end_stream(self) -> None:
        handovers = self.request.task.run.handovers
        if self.stream is not None and handovers is not None:
            handovers.end(self.stream)

    def _text(self, text: str) -> None:
        """A piece of the text is final; called from the engine's thread."""
        self.request.task.run.text_released(self, text)
        if self.stream is not None:
            self.stream.push(text)

    def finished(self, generation: Generation) -> None:
        """The output is complete."""
        run, op = self.request.task.run, self.op
        self._end_stream()
        run.call_ended(self, generation)
        kept = (*generation.kept_ids, *generation.tail_ids)
        # The last token that was sampled has not been fed to the model.
        computed = min(len(generation.kept_ids), len(generation.sampled_ids) - 1)
        run.log.ends[self.identifier] = computed, len(kept) - computed
        context = self._take_context()
        context.length += len(kept)
        if context.chain is not None:
            context.chain = TokenChain(context.chain, kept)
        try:
            value = parse_value(generation.text, self.request.type)
        except ValueError as error:
            self._give(failure(op, f"the output does not parse: {error}", FailureKind.ENGINE))
            return
        logprobs = None
        if len(op.results) > 2:
            logprobs = _logprobs(generation.logprobs, _logprob_type(op.results[2].type))
        self.request.sample_done(self.sample, value, context, logprobs)

    def failed(self, error: EngineError) -> None:
        """The engine gave up the call."""
        self._end_stream()
        self.request.task.run.call_ended(self, None)
        self._take_context()
        self._give(failure(self.op, str(error), FailureKind.ENGINE))

    def _take_context(self) -> Context:
        """The context, which this no longer holds: an engine may remember the call for a while."""
        context, self.context = self.context, None
        assert context is not None, "a call ends once"
        return context

    def _give(self, failed: Failure) -> None:
        self.request.sample_done(self.sample, failed, failed, failed)

    def record(self, generation: Generation) -> CallRecord:
        """What the run remembers of the call when it records calls."""
        attributes = self.op.attributes
        prompt = self.prompt_chain.tokens() if self.prompt_chain is not None else ()
        return CallRecord(str(self.op.location), str(attributes["output"]), str(attributes.get("stream") or ""),
                          self.request.indices, self.sample, prompt, generation.sampled_ids,
                          (*generation.kept_ids, *generation.tail_ids))


def priority_of(task: OpTask) -> Priority:
    """What the scheduler is told of a generate."""
    return task.run.plan.priority(task.instance, task.layout)


def _logprob_type(type: Type) -> Record:
    """The record of one token inside the type of a log-probability result."""
    while isinstance(type, List):
        type = type.element
    assert isinstance(type, Record), f"log-probabilities are records, not {type}"
    return type


def _logprobs(tokens: Sequence[TokenLogprob], record: Record) -> list[dict[str, Any]]:
    """`{token, logprob, top}` for each token; `top` as its type wants it, a map or a list of records."""
    field = record.field("top")
    as_map = field is not None and isinstance(field.type, Map)
    return [
        {"token": t.token, "logprob": t.logprob,
         "top": dict(t.top) if as_map else [{"token": text, "logprob": logprob} for text, logprob in t.top]}
        for t in tokens
    ]


HANDLERS = {"engine.fill": run_fill, "engine.generate": run_generate}
