"""One output while it is generated: choose tokens from logits, notice its end, release its text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...ir.target import Tokenizer
from ..engine import EngineError, Generation, SamplingOptions, TokenLogprob
from ..logit_changes import logit_changes
from ..random_stream import uniform
from ..sampling import TokenChoice, choose_token, log_probabilities, most_probable, needs_logits
from ..token_bytes import IncrementalDecoder
from .byte_automaton import UNREACHABLE
from .constraint import constraint_of, token_budget
from .kept_tokens import split_kept
from .text_output import TextOutput

Logits = NDArray[np.float32]


class OutputDecoder:
    """Decodes one output under `options`. `vocabulary_size`: ids that the model and the tokenizer both have.

    `prompt` int64: the tokens before the output; only a repetition penalty needs them. With `jump_forward`, tokens that
    have no alternative under a grammar follow at once, without logits (not where log-probabilities are wanted); the
    tokens are the same without.
    Raises EngineError for options that no output can satisfy. `finished` is the result once the output has ended,
    which may be before the first token; until then call `advance` with one row of logits after another and feed
    `tokens` to the model.
    """

    def __init__(self, options: SamplingOptions, tokenizer: Tokenizer, vocabulary_size: int, *,
                 prompt: NDArray[np.int64] | None = None, jump_forward: bool = True) -> None:
        _check(options)
        self._changes = logit_changes(options, prompt, vocabulary_size)
        self._jumps = jump_forward and options.logprobs is None
        self._options = options
        self._tokenizer = tokenizer
        self._vocabulary_size = vocabulary_size
        self._budget = token_budget(options)
        self._automaton = constraint_of(options, tokenizer, vocabulary_size)
        self.is_constrained = self._automaton is not None
        self.needs_logits = needs_logits(options)
        """Whether `take` does not do."""
        self._bytes = IncrementalDecoder()
        self._output = TextOutput(options.stop, options.max_words, strip_leading_space=options.strip_leading_space)
        self._ends_itself = self._output.ends_itself
        greedy = TokenChoice(options, 0.0, None, self._changes)
        self._always = greedy if greedy.is_largest and not self.is_constrained else None
        """How all tokens are to be chosen, where that is the same for all."""
        self._logprobs: list[TokenLogprob] = []
        self.tokens: list[int] = []
        """Tokens of the output so far, in the order in which the model must be fed; never EOS."""
        self.sampled = 0
        """Tokens sampled or forced, EOS included."""
        self.forced = 0
        """Of these, the ones that followed without logits."""
        self._decoded = 0
        """Tokens whose bytes have gone into the text."""
        self._mask: NDArray[np.bool_] | None = None
        """What the grammar allows next; None for free text."""
        self.finished: Generation | None = None
        if self._automaton is not None:
            self._state = self._automaton.start
            self._check_budget()
            self._after_constrained_token()
        elif self._budget == 0:
            self._finish("length")

    def _check_budget(self) -> None:
        assert self._automaton is not None
        if not self._automaton.fits(self._state, self._budget):
            minimum = self._automaton.minimum_tokens(self._state)
            if minimum == UNREACHABLE:
                raise EngineError("the tokenizer has no tokens that spell a value of the wanted form")
            raise EngineError(
                f"max_tokens is {self._budget}, but the shortest value has {minimum} tokens; raise max_tokens"
            )

    def take_text(self) -> str:
        """Text of the value that has become final since the last call."""
        self._decode()
        return self._output.take()

    def advance(self, logits: Logits) -> None:
        """Choose the next token (and tokens that are then forced) from float32 logits [vocabulary]."""
        logits = logits[: self._vocabulary_size]
        choice = self.choice()
        self.take(choose_token(logits, choice.options, choice.uniform, choice.mask, choice.changes), logits)

    def choice(self) -> TokenChoice:
        """How the next token is to be chosen."""
        if self._always is not None:
            return self._always
        mask = None
        if self._automaton is not None and not self._automaton.is_accepting(self._state):
            mask = self._mask
        return TokenChoice(self._options, self._uniform(0), mask, self._changes)

    def choice_after(self) -> TokenChoice | None:
        """How the token after the next is to be chosen; None where that depends on the next, or there is none."""
        if self.is_constrained or self._changes is not None or len(self.tokens) + 1 >= self._budget:
            return None
        return TokenChoice(self._options, self._uniform(1), None)

    def _uniform(self, later: int) -> float:
        if self._options.temperature == 0:
            return 0.0
        assert self._options.stream_key is not None
        return uniform(self._options.stream_key, len(self.tokens) + later)

    def take(self, token: int, logits: Logits | None = None) -> None:
        """Go on with `token`, which was chosen as `choice` says, from `logits` [vocabulary] where these are wanted."""
        assert logits is not None or self._options.logprobs is None, "log-probabilities need logits"
        if self._automaton is None:
            self._take_text(token, logits)
        else:
            self._take_constrained(token, logits)

    # ---- free text ----

    def _take_text(self, token: int, logits: Logits | None) -> None:
        self._record(token, logits)
        if token in self._tokenizer.eos_ids and not self._options.ignore_eos:
            self._finish("eos", ended_by=token)
            return
        self._append(token)
        if self._output.reason is not None:
            self._finish(self._output.reason)
        elif len(self.tokens) == self._budget:
            self._finish("length")

    # ---- constrained ----

    def _take_constrained(self, token: int, logits: Logits | None) -> None:
        automaton = self._automaton
        assert automaton is not None
        accepting = automaton.is_accepting(self._state)
        # The value ends unless the choice without the mask goes on with it.
        assert self._mask is not None
        if accepting and not self._mask[token]:
            self._finish("complete")
            return
        self._record(token, logits)
        self._append(token)
        self._state = automaton.advance(self._state, token)
        self._after_constrained_token()

    def _after_constrained_token(self) -> None:
        """End where nothing can follow; append tokens without alternative."""
        automaton = self._automaton
        assert automaton is not None
        while True:
            remaining = self._budget - len(self.tokens)
            accepting = automaton.is_accepting(self._state)
            if accepting and remaining == 0:
                self._finish("length" if automaton.can_go_on(self._state) else "complete")
                return
            self._mask = automaton.mask(self._state, remaining)
            allowed = np.count_nonzero(self._mask)
            if accepting and allowed == 0:
                self._finish("complete")
                return
            if accepting or allowed > 1 or not self._jumps:
                return
            token = int(self._mask.argmax())
            self._append(token)
            self.sampled += 1
            self.forced += 1
            self._state = automaton.advance(self._state, token)

    # ---- both ----

    def _append(self, token: int) -> None:
        self.tokens.append(token)
        if self._changes is not None:
            self._changes.note(token)
        if self._ends_itself:
            self._decode()

    def _decode(self) -> None:
        """Bring the text up to date with the tokens."""
        fresh = self.tokens[self._decoded :]
        if fresh:
            self._decoded = len(self.tokens)
            self._output.push(self._bytes.push(b"".join([self._tokenizer.token_bytes(token) for token in fresh])))

    def _record(self, token: int, logits: Logits | None) -> None:
        self.sampled += 1
        count = self._options.logprobs
        if count is None or logits is None:
            return
        values = log_probabilities(logits)
        top = tuple((self._token_text(i), float(values[i])) for i in most_probable(values, count))
        self._logprobs.append(TokenLogprob(self._token_text(token), float(values[token]), top))

    def _token_text(self, token: int) -> str:
        return str(self._tokenizer.token_bytes(token).decode(errors="replace"))

    def _finish(self, reason: str, *, ended_by: int | None = None) -> None:
        self._decode()
        output = self._output
        output.finish(reason)
        kept, tail = split_kept(self.tokens, output.text, output.cut_space, self._tokenizer)
        sampled = self.tokens if ended_by is None else [*self.tokens, ended_by]
        self.finished = Generation(
            output.text, tuple(kept), tuple(tail), tuple(sampled), reason, tuple(self._logprobs)
        )


def _check(options: SamplingOptions) -> None:
    """Raise EngineError for options that make no sense."""
    o = options
    problems = [
        (o.max_tokens < 0, f"max_tokens is {o.max_tokens}; it must not be negative"),
        (o.max_words is not None and o.max_words < 0, f"max_words is {o.max_words}; it must not be negative"),
        (not 0 <= o.temperature < float("inf"), f"temperature is {o.temperature}; it must be 0 or more"),
        (not 0 < o.top_p <= 1, f"top_p is {o.top_p}; it must be above 0 and at most 1"),
        (o.top_k < 0, f"top_k is {o.top_k}; it must be 0 (off) or more"),
        (not 0 <= o.min_p <= 1, f"min_p is {o.min_p}; it must lie within 0 and 1"),
        ("" in o.stop, "a stop string is empty"),
        (o.logprobs is not None and o.logprobs < 0, f"logprobs is {o.logprobs}; it must not be negative"),
        (o.temperature > 0 and o.stream_key is None, "a sampled output needs a stream key"),
    ]
    for wrong, message in problems:
        if wrong:
            raise EngineError(message)
