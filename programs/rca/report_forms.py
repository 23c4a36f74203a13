"""Reports for people: Markdown, and messages of Slack."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Report = dict[str, Any]
Say = Callable[[str], str]
"""Escapes a text for a form."""

MOST_BLOCKS = 50
SECTION_CHARACTERS, HEADER_CHARACTERS = 3_000, 150
"""Limits of Slack; https://docs.slack.dev/reference/block-kit/blocks"""
EXCERPT_LINES, EXCERPT_CHARACTERS = 6, 160
"""Of a piece of evidence."""

_MARKS = re.compile(r"([\\`*\[\]<>|]|(?<!\w)_|_(?!\w)|~(?=~)|&(?=\w+;|#)|^(?:[-+#=~]|\d+(?=[.)])))")
ENDINGS = {
    "cause": "", "insufficient evidence": "The evidence does not suffice to name a cause.",
    "nothing collected": "Nothing could be collected, so no cause is named.",
    "no handler": "No handler takes this alert: nothing was collected.",
    "unreadable alert": "The alert cannot be read.",
}
LISTS = (("Contributing factors", "contributing_factors"), ("Symptoms", "symptoms"), ("Causal chain", "causal_chain"),
         ("Alternatives", "alternatives"))


def markdown(reports: Sequence[Report]) -> str:
    """All reports as one document."""
    return "\n".join(map(markdown_of, reports))


def markdown_of(report: Report) -> str:
    """A report as Markdown; whatever alerts, telemetry and models wrote is text in it, never markup."""
    say = escape_markdown
    parts = [f"# {say(headline(report))}\n", " · ".join(map(say, facts(report))) + "\n"]
    parts += [f"**{say(label)}** {text}\n" for label, text in answer(report, say)]
    for title, name in LISTS:
        if report[name]:
            parts.append(f"## {title}\n\n" + _items(statement(s, say) for s in report[name]))
    if report["unsupported"]:
        parts.append("## Not backed by evidence\n\n" + _items(doubt(s, say) for s in report["unsupported"]))
    if report["findings"]:
        parts.append("## What was found\n\n" + _items(finding(step, say) for step in report["findings"]))
    if report["next_steps"]:
        parts.append("## What may be done\n\n" + _items(_step(step, say) for step in report["next_steps"]))
    if report["missing"]:
        parts.append("## What is missing\n\n" + _items(map(say, report["missing"])))
    if report["similar"]:
        parts.append("## Past incidents\n\n" + _items(say(similar(one)) for one in report["similar"]))
    if beside := compared(report):
        parts.append("## Beside past incidents\n\n" + _items(map(say, beside)))
    if report["evidence"]:
        parts.append("## Evidence\n\n" + "\n".join(_excerpt(piece) for piece in report["evidence"]))
    parts.append(f"---\n\n{say(footer(report))}\n")
    return "\n".join(parts)


def slack(reports: Sequence[Report]) -> str:
    """A message for each report, one JSON object a line."""
    return "".join(json.dumps(slack_message(report), ensure_ascii=False) + "\n" for report in reports)


def slack_message(report: Report) -> dict[str, Any]:
    """`text` and `blocks` of a message."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(headline(report), HEADER_CHARACTERS)}},
        _context(" · ".join(facts(report)))]
    say = escape_slack
    blocks += [_section(f"*{label}* {text}") for label, text in answer(report, say)]
    lists = [(title, [statement(s, say) for s in report[name]]) for title, name in LISTS]
    lists += [("Not backed by evidence", [doubt(s, say) for s in report["unsupported"]]),
              ("What was found", [finding(step, say) for step in report["findings"]]),
              ("What may be done", [_step(step, say) for step in report["next_steps"]]),
              ("What is missing", list(map(say, report["missing"]))),
              ("Past incidents", [say(similar(one)) for one in report["similar"]]),
              ("Beside past incidents", list(map(say, compared(report))))]
    blocks += [_section(f"*{title}*\n" + "\n".join(f"• {line}" for line in lines)) for title, lines in lists if lines]
    pieces = [f"`{piece['id']}` {escape_slack(source(piece))}" for piece in report["evidence"]]
    if pieces:
        blocks += [{"type": "divider"}, _section("*Evidence*\n" + "\n".join(pieces))]
    blocks.append(_context(footer(report)))
    return {"text": fitting(escape_slack(headline(report)), SECTION_CHARACTERS), "blocks": blocks[:MOST_BLOCKS]}


def headline(report: Report) -> str:
    """What happened and where, in one line."""
    incident = report["incident"]
    where = f" ({incident['scope']})" if incident["scope"] and incident["scope"] not in incident["title"] else ""
    return f"{incident['title']}{where}"


def facts(report: Report) -> list[str]:
    """The alert's name, its state, its handler."""
    incident, handler = report["incident"], report["handler"]
    said = [incident["kind"], incident["severity"], incident["status"],
            incident["time"] and f"since {incident['time']}",
            report["reports"] > 1 and f"reported {report['reports']} times", f"verdict: {report['verdict']}",
            report["layer"] != "unclear" and report["layer"],
            handler["name"] and handler["name"] != "no handler" and f"handler {handler['name']}"]
    return [text for text in said if text]


def answer(report: Report, say: Say) -> list[tuple[str, str]]:
    """The cause and how sure it is, or why there is none; what the handler concluded."""
    lines = []
    cause, confidence = report["cause"], report["confidence"]
    if cause:
        new = " (a new category)" if cause["is_new"] else ""
        lines.append(("Cause:", f"{say(cause['category'])}{new}: {statement(cause['statement'], say)}"))
        if cause["rationale"]:
            lines.append(("In the words of the model, not checked:", say(cause["rationale"])))
    else:
        lines.append(("No cause:", ENDINGS[report["ending"]]))
    if report["conclusion"]["shown"]:
        lines.append(("The handler concludes:", statement(report["conclusion"], say)))
    if confidence:
        how = "probability" if confidence["calibrated"] else "score (not calibrated)"
        lines.append(("Confidence:", f"{how} {confidence['probability']:.2f}: {confidence['sufficient']:.0%} of "
                                     f"{confidence['samples']} judgements find the evidence sufficient, mean rating "
                                     f"{confidence['rating']:.2f}"))
    if report["votes"]:
        lines.append(("Votes:", say(", ".join(f"{count} for {name}" for name, count in report["votes"].items()))))
    if report["others"]:
        lines.append(("In the same alert:", say("; ".join(report["others"]))))
    return lines


def statement(one: dict[str, Any], say: Say) -> str:
    """A claim and the numbers of its evidence."""
    return f"{say(one['claim'])} [{', '.join(one['evidence'])}]" if one["evidence"] else say(one["claim"])


def doubt(one: dict[str, Any], say: Say) -> str:
    """A claim that stands apart, and why."""
    why = f"{', '.join(one['evidence'])} does not show it" if one["evidence"] else "no evidence"
    return f"{say(one['claim'])} ({why})"


def finding(step: dict[str, Any], say: Say) -> str:
    """A step of a handler."""
    return f"{say(step['action'])}: {say(step['result'])} [{', '.join(step['evidence'])}]"


def similar(one: dict[str, Any]) -> str:
    """A past incident."""
    return f"{one['id']} {one['category']}, similarity {one['similarity']:.2f}" + (", chosen" if one["chosen"] else "")


def compared(report: Report) -> list[str]:
    """Which categories this path speaks for and against, what would tell, and what was not looked at."""
    lines = []
    for one in report["hypotheses"]:
        if one["status"] != "open":
            told = one["agree"] if one["status"] == "supported" else one["differ"]
            lines.append(f"{one['category']} is {one['status']}: " + ", ".join(
                f"{step['action']} {step['result']} [{', '.join(step['evidence'])}]" for step in told))
    if report["next_check"]:
        lines.append(f"to tell more: {report['next_check']}")
    return lines + [f"not looked at: {one['check']} (was {one['showed']} in {', '.join(one['incidents'])})"
                    for one in report["unchecked"]]


def source(piece: dict[str, Any]) -> str:
    """Where a piece of evidence is from."""
    return f"{piece['source']}, {piece['outcome']}: {' '.join(piece['query'].split())}"


def footer(report: Report) -> str:
    """The versions behind a report, what was checked, what it took."""
    checks, spent, handler = report["checks"], report["spent"], report["handler"]
    parts = [handler["version"] and f"Handler: {handler['version']}",
             f"{checks['claims']} claims of a model: {checks['without_evidence']} without evidence, "
             f"{checks['not_shown']} not shown by it, {checks['invented']} numbers of evidence invented"
             if checks["claims"] else "No claim of a model"]
    if spent:
        parts.append(f"{spent['calls']} calls, {spent['prompt_tokens']} prompt tokens "
                     f"({spent['filled_tokens']} computed), {spent['generated_tokens']} generated, "
                     f"{spent['seconds']:.1f} s")
    return ". ".join(part for part in parts if part) + "."


def _step(step: dict[str, Any], say: Say) -> str:
    command = f": {step['command']}" if step["command"] else ""
    return say(f"{step['action']}{command} (done when: {step['check']})")


def _items(lines: Iterable[str]) -> str:
    return "".join(f"* {line}\n" for line in lines)


def _excerpt(piece: dict[str, Any]) -> str:
    lines = [" ".join(line.split())[:EXCERPT_CHARACTERS] for line in piece["text"].split("\n") if line.strip()]
    table = ", ".join(f"{name} {value}" for name, value in list(piece["table"].items())[:EXCERPT_LINES])
    shown = ([table[:EXCERPT_CHARACTERS]] if table else []) + lines
    more = [f"… {len(shown) - EXCERPT_LINES} more lines"] if len(shown) > EXCERPT_LINES else []
    text = "\n".join(shown[:EXCERPT_LINES] + more)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    head = f"**{piece['id']}** {escape_markdown(source(piece))}\n"
    return f"{head}\n{fence}text\n{text}\n{fence}\n" if text else head


def escape_markdown(text: str) -> str:
    """One line in which no character is markup."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def escape_slack(text: str) -> str:
    """Text in which nothing is a link, a mention or an entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fitting(escaped: str, most: int) -> str:
    """Escaped text of at most `most` characters; no entity is cut."""
    if len(escaped) <= most:
        return escaped
    return re.sub(r"&[a-z]{0,3}$", "", escaped[:most - 1]) + "…"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 1] + "…"


def _section(mrkdwn: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": fitting(mrkdwn, SECTION_CHARACTERS)}}


def _context(text: str) -> dict[str, Any]:
    elements = [{"type": "mrkdwn", "text": fitting(escape_slack(text), SECTION_CHARACTERS)}]
    return {"type": "context", "elements": elements}


def as_json(reports: Sequence[Report]) -> str:
    """A report for each line."""
    return "".join(json.dumps(report, ensure_ascii=False) + "\n" for report in reports)


FORMS: dict[str, Callable[[Sequence[Report]], str]] = {"json": as_json, "markdown": markdown, "slack": slack}
