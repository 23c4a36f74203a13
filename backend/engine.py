"""The engine interface: Parrot's three calls, `fill`, `generate` and `free_context`.

A context is a node of one reference-counted tree; the caller names contexts by integers of its own
choosing, and `ROOT` is the empty one that always exists. All calls return at once: an engine orders
work by data, so a context may be used as a parent before its tokens have been computed.
Source: Parrot (OSDI'24), section 7, the universal engine abstraction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ..ir.target import Tokenizer
from ..ir.types import Type

ROOT = 0
"""The identifier of the empty context; it is never freed."""


class EngineError(Exception):
    """A call failed on the engine (context overflow, aborted, engine died); the message is for users."""


class EngineFailure(EngineError):
    """The engine itself failed or is gone, whatever the call was: another one could do the call."""


class EngineClosed(EngineFailure):
    """The engine was closed while the call was waiting or running."""


@dataclass(frozen=True)
class SamplingOptions:
    """How one output is decoded. `temperature` 0 is greedy; masks come before top-k, top-p and min-p."""

    max_tokens: int = 256
    max_words: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop: tuple[str, ...] = ()
    regex: str | None = None
    choices: tuple[str, ...] | None = None
    type: Type | None = None
    """Type of the value; None and plain text are unconstrained, any other type implies its grammar."""
    logprobs: int | None = None
    """Number of alternatives to report for each token; None reports nothing."""
    stream_key: bytes | None = None
    """Key of the random stream of a sampled output; None when greedy (see `backend.random_stream`)."""
    strip_leading_space: bool = False
    """Cut one leading space from the value (the prompt's constant ended in one, see docs/language.md)."""
    ignore_eos: bool = False
    """Keep on generating after EOS (benchmarks only)."""
    repetition_penalty: float = 1.0
    """Above 1, tokens of prompt and output become less likely; what changes logits is told in `logit_changes`."""
    frequency_penalty: float = 0.0
    """Subtracted from the logit of a token once for each time that the output has it."""
    presence_penalty: float = 0.0
    """Subtracted from the logit of a token that the output has."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Pairs of a token id and what is added to its logit."""


@dataclass(frozen=True)
class TokenLogprob:
    """One generated token with its log-probability and the most probable alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Generation:
    """A finished output: `text` is the value's text, `kept_ids + tail` what its context holds.

    The context keeps the longest run of generated tokens whose bytes are a prefix of the value's
    text (`kept_ids`) and then the rest of the value as a piece of its own (`tail_ids`).
    """

    text: str
    kept_ids: tuple[int, ...]
    tail_ids: tuple[int, ...]
    sampled_ids: tuple[int, ...]
    """Every token that was sampled or forced, EOS and stop text included."""
    finish_reason: str
    """One of `eos`, `stop`, `length`, `words`, `complete` (a grammar was satisfied)."""
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Priority:
    """What the scheduler knows of a call. Hints only: they decide when a call runs, never what it answers."""

    group: str | None = None
    """Calls of one group are wanted together: the last of them counts."""
    depth: int = 0
    """Calls that are still to follow this one, one after another, before a result of its program is there."""
    objective: str = "throughput"
    """As the IR prints it: `latency`, `throughput`, `ttft` or `deadline(SECONDS)`."""
    application: int = 0
    """The run that the call belongs to; runs are numbered in order of arrival."""
    slack: float = 0.0
    """Seconds that the call may be late without delaying its program."""
    deadline: float | None = None
    """When the call has to be finished, in seconds of `time.perf_counter`."""
    batch: int | None = None
    """Most calls of the group in one step; None for no limit."""
    engines: int | None = None
    """Over how many engines the group is spread; None where that is decided as its calls come."""


@dataclass(frozen=True)
class FillHint:
    """What the plan knows of a fill. It changes when tokens are computed and whose KV is dropped first, never a token.

    `early`: from how many generates before its next use on spare tokens of a step may compute it; 0 only when a call
    needs it, None at any time.
    `next_use`: how many generates are still to run before the context is used next, asked when it matters, in the
    engine's thread. Where KV is short, what is used furthest in the future goes first; None is not known.
    """

    early: int | None = None
    next_use: Callable[[], int] | None = None


@dataclass
class Callbacks:
    """How an engine reports on one generate; called from the engine's own thread."""

    on_finish: Callable[[Generation], None]
    on_error: Callable[[EngineError], None]
    on_text: Callable[[str], None] | None = None
    """Each piece of text as it becomes final; what was released never changes."""


@dataclass
class EngineStats:
    """Counters since the engine was made. Tokens, steps and KV slots are counted, not estimated."""

    fills: int = 0
    generates: int = 0
    prompt_tokens: int = 0
    """Sum over generates of the tokens that their context held before the first generated token."""
    filled_tokens: int = 0
    """Prompt tokens really computed (forward passes over known tokens, refills after preemption excluded)."""
    refilled_tokens: int = 0
    """Tokens computed again because their KV had been dropped, or because their logits were wanted once more."""
    generated_tokens: int = 0
    forced_tokens: int = 0
    """Of `generated_tokens`: those without an alternative under a grammar, so that no step had to choose them."""
    engine_steps: int = 0
    peak_kv_tokens: int = 0
    """Largest number of token slots that live contexts held at once; shared tokens count once."""
    peak_kv_slots: int = 0
    """Largest number of slots in pages in use, the prefix cache included; a page that contexts share counts once."""
    kv_bytes_per_token: int = 0
    """Bytes that the keys and values of one token take, in all layers."""
    preemptions: int = 0
    evicted_tokens: int = 0
    early_tokens: int = 0
    """Of `filled_tokens` and `refilled_tokens`: those computed before any call needed them."""
    kernels: str = ""
    """Names of the attention and linear kernels in use."""
    batch_sizes: list[int] = field(default_factory=list)
    """Decode rows of each engine step."""


@dataclass(frozen=True)
class EngineEvent:
    """One entry of an engine's trace. Times are seconds of `time.perf_counter`."""

    kind: str
    """`fill`, `generate` or `step`."""
    name: str
    start: float
    end: float
    arguments: dict[str, object]


@dataclass(eq=False)
class PeakWatch:
    """The largest number of KV tokens that an engine's live contexts have held since the watch began."""

    peak_kv_tokens: int


@runtime_checkable
class WatchesKV(Protocol):
    """An engine that can tell the peak of a stretch of time: of one run among several, say."""

    def watch_kv(self) -> PeakWatch:
        """Begin to note the most KV tokens that live contexts hold after a step."""

    def end_watch(self, watch: PeakWatch) -> None:
        """Note no more."""


class Engine(Protocol):
    """What the executor needs of an engine. Implementations: `reference`, `torch`."""

    name: str
    tokenizer: Tokenizer
    context_length: int
    """Most tokens that one context can hold."""

    def fill(self, token_ids: Sequence[int], context_id: int, parent_context_id: int, *, label: str = "",
             hint: FillHint = FillHint()) -> None:
        """Make `context_id`: `parent_context_id` followed by `token_ids` (may be empty)."""

    def generate(
        self,
        sampling: SamplingOptions,
        context_id: int,
        parent_context_id: int,
        callbacks: Callbacks,
        *,
        priority: Priority = Priority(),
        label: str = "",
    ) -> None:
        """Decode one output after `parent_context_id`; `context_id` becomes parent + the output's tokens.

        Bad options (a budget below the grammar's minimum, an empty `choices`, a context that would
        overflow) reach `on_error`. Children of a context whose generate failed fail as well.
        """

    def abort(self, context_id: int) -> None:
        """Stop the generate of `context_id`, if it still runs; its `on_error` is called."""

    def free_context(self, context_id: int) -> None:
        """Drop the caller's reference; the tokens stay for as long as descendants or running calls need them."""

    def stats(self) -> EngineStats:
        """A consistent copy of the counters."""

    def drain_events(self) -> list[EngineEvent]:
        """Trace events since the last call; empty unless the engine was made with `trace=True`."""

    def check_integrity(self) -> None:
        """Raise AssertionError when reference counts, pages and the tree disagree."""

    def close(self) -> None:
        """Stop the engine's thread and release its memory; running calls fail."""
