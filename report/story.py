"""A program and a run of it in plain words, for somebody who has never seen the project."""

from __future__ import annotations

from dataclasses import dataclass

from .call_rows import CallRow
from .explain_text import number, percent, plural, seconds
from .explanation import Explanation
from .measurement import MeasuredCall, Measurement

MOST_NAMED = 4


@dataclass(frozen=True)
class Fact:
    """A number that matters: its name, the number, and a remark."""

    name: str
    value: str
    remark: str
    explanation: str


def story(explanation: Explanation) -> list[str]:
    """Sentences: what the program asks of a language model, and what compiling it saved."""
    return [_what(explanation), *(_run(explanation.measurement) if explanation.measurement is not None
                                  else [_prediction(explanation)])]


def _what(explanation: Explanation) -> str:
    by_function: dict[str, list[CallRow]] = {}
    for row in explanation.calls:
        by_function.setdefault(row.function or row.output, []).append(row)
    if not by_function:
        return "This program makes no calls to a language model."
    parts = [f"“{name}” ({_times(rows)})" for name, rows in list(by_function.items())[:MOST_NAMED]]
    if len(by_function) > MOST_NAMED:
        parts.append(f"{len(by_function) - MOST_NAMED} more")
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    kinds = "one kind of answer" if len(by_function) == 1 else f"{len(by_function)} kinds of answers"
    return f"This program asks a language model for {kinds}: {listed}."


def _times(rows: list[CallRow]) -> str:
    if len(rows) > 1:
        return f"{len(rows)} places"
    words = rows[0].times
    if words == "1":
        return "once"
    if words == "0–1":
        return "once, or not at all"
    return ", ".join(text for loop in rows[0].loops if (text := _turns(loop.words, loop.kind)))


def _turns(words: str, kind: str) -> str:
    if words.startswith("len("):
        return f"for each of the {words[4:-1]}"
    if words.startswith("each "):
        return f"for {words}"
    if words == "0–1":
        return "in one of the branches"
    what = "items" if kind == "for" else "turns"
    if words.startswith("≤"):
        return f"in up to {words[1:]} {what}"
    return "" if words == "1" else f"for {words} {what}" if kind == "for" else f"in {words} {what}"


def _run(measured: Measurement) -> list[str]:
    stats = measured.stats
    if not stats.calls:
        return [f"In this run no call was made; it took {seconds(stats.makespan_s)}."]
    prompts = "Its prompt" if stats.calls == 1 else "All prompts together"
    text = (f"In this run {_calls_were(stats.calls)} made. {prompts} had {stats.prompt_tokens} tokens "
            "(a token is a word or a part of one)")
    if stats.shared_tokens:
        text += (f". {stats.shared_tokens} of them ({100 * stats.shared_tokens / stats.prompt_tokens:.0f} %) had been "
                 "computed before, for another call, and were used again instead of being computed once more.")
    else:
        text += ", and each had to be computed once: no two prompts begin alike."
    texts = [text]
    together = most_at_once(measured.calls)
    total = sum(call.end - call.start for call in measured.calls)
    if together > 1:
        texts.append(f"Up to {together} calls ran at the same time: their times add up to {seconds(total)}, the run "
                     f"took {seconds(stats.makespan_s)}.")
    elif stats.calls > 1:
        texts.append(f"Each call needs the answer of the one before it, so they ran one after another, in "
                     f"{seconds(stats.makespan_s)}.")
    if measured.errors:
        texts.append(f"{plural(len(measured.errors), 'result')} failed.")
    return texts


def _calls_were(count: int) -> str:
    return "1 call was" if count == 1 else f"{count} calls were"


def _prediction(explanation: Explanation) -> str:
    before, now = explanation.baseline, explanation.prediction
    text = (f"It was not run. Compiled, a run is predicted to compute {number(now.filled_tokens)} tokens of prompts "
            f"and to take {seconds(now.makespan_s)}")
    if now.filled_tokens < before.filled_tokens:
        text += (f"; without optimization it would compute {number(before.filled_tokens)} tokens: "
                 f"{percent(before.filled_tokens, now.filled_tokens)} are saved")
    return text + "."


def most_at_once(calls: list[MeasuredCall]) -> int:
    """The most calls that ran at one time."""
    changes = sorted([(call.start, 1) for call in calls] + [(call.end, -1) for call in calls])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def facts(explanation: Explanation) -> list[Fact]:
    """The numbers at the head of the page."""
    measured = explanation.measurement
    before, now = explanation.baseline, explanation.prediction
    if measured is None:
        return [
            Fact("call sites", str(len(explanation.calls)), f"about {number(now.calls)} calls in a run",
                 "places in the program where a language model is asked"),
            Fact("prompt tokens to compute", number(now.filled_tokens),
                 f"{number(before.filled_tokens)} without optimization", "predicted"),
            Fact("answer tokens", f"≤ {number(now.generated_tokens)}", "with every answer at its longest", "predicted"),
            Fact("time", seconds(now.makespan_s), f"{seconds(before.makespan_s)} without optimization", "predicted"),
            Fact("tokens in KV memory", str(now.peak_kv_tokens), f"{before.peak_kv_tokens} without optimization",
                 "what the engine has to remember of prompts and answers at one time"),
        ]
    stats = measured.stats
    return [
        Fact("calls", str(stats.calls), f"{plural(len(explanation.calls), 'place')} in the program",
             "answers that a language model wrote"),
        Fact("prompt tokens computed", str(stats.filled_tokens),
             f"of {stats.prompt_tokens}: {percent(stats.prompt_tokens, stats.filled_tokens)} saved"
             if stats.filled_tokens < stats.prompt_tokens else f"of {stats.prompt_tokens}",
             "tokens of prompts for which the model really ran"),
        Fact("answer tokens", str(stats.generated_tokens), f"in {plural(stats.engine_steps, 'step')} of the engine",
             "a step computes the next token of every call that is under way"),
        Fact("time", seconds(stats.makespan_s),
             f"{seconds(stats.predicted_makespan_s)} predicted for answers of full length",
             "from the first call to the last result"),
        Fact("tokens in KV memory", str(stats.peak_kv_tokens), f"at most; predicted {stats.predicted_peak_kv_tokens}",
             "the most that the engine had to remember of prompts and answers at one time"),
    ]
