"""`python -m semlang.programs.rca.open_telemetry trace.json > spans.json`: a run as OpenTelemetry spans.

Reads what `semc run --trace trace.json` wrote and prints OTLP in JSON, with the attributes of the conventions for
generative AI (https://opentelemetry.io/docs/specs/semconv/gen-ai/); a collector takes it at `/v1/traces`:
`curl -H 'content-type: application/json' -d @spans.json http://localhost:4318/v1/traces`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

NAMES = {"prompt_tokens": "gen_ai.usage.input_tokens", "generated_tokens": "gen_ai.usage.output_tokens",
         "engine": "gen_ai.request.model", "site": "code.location", "stream": "semlang.stream",
         "attempts": "semlang.attempts"}
"""Attributes of spans by their names in a trace."""
PROGRAM = 1
"""The process of a trace that shows the program's own calls; engines follow."""
CLIENT, INTERNAL, FAILED = 3, 1, 2
"""Kinds and the status of spans, as OTLP numbers them."""


def spans_of(trace: Mapping[str, Any], end: float, name: str) -> dict[str, Any]:
    """OTLP: one span for the run, which ended at `end` (seconds since 1970), and below it one for each call of a model
    and of a host. Raises ValueError where this is no trace of a run."""
    try:
        every = [event for event in trace["traceEvents"] if event["ph"] == "X"]
        events = [event for event in every if event["pid"] == PROGRAM and event["cat"] in ("generate", "host")]
        last = max((event["ts"] + event["dur"] for event in every), default=0.0)
        began = round(end * 1e9) - round(last * 1e3)  # in nanoseconds
        number = sha256(json.dumps([name, end, trace], sort_keys=True).encode()).hexdigest()
        root = number[:16]
        spans = [_span(number[:32], root, "", name, INTERNAL, began, 0.0, last, {})]
        for position, event in enumerate(events, 1):
            model = event["cat"] == "generate"
            given = {NAMES[key]: value for key, value in event["args"].items() if key in NAMES and value != ""}
            given |= {"gen_ai.operation.name": "text_completion", "gen_ai.system": "semlang"} if model else {}
            if "finish_reason" in event["args"]:
                given["gen_ai.response.finish_reasons"] = [event["args"]["finish_reason"]]
            span = _span(number[:32], sha256(f"{number}{position}".encode()).hexdigest()[:16], root, event["name"],
                         CLIENT if model else INTERNAL, began, event["ts"], event["dur"], given)
            if event["args"].get("failed") or event["args"].get("error"):
                span["status"] = {"code": FAILED, "message": str(event["args"].get("error", "the call failed"))}
            spans.append(span)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no trace of a run: {error}") from None
    return {"resourceSpans": [{
        "resource": {"attributes": _attributes({"service.name": "semlang"})},
        "scopeSpans": [{"scope": {"name": "semlang.programs.rca"}, "spans": spans}]}]}


def _span(trace: str, id: str, parent: str, name: str, kind: int, began: int, ts: float, dur: float,
          given: Mapping[str, Any]) -> dict[str, Any]:
    start = began + round(ts * 1e3)
    return {"traceId": trace, "spanId": id, **({"parentSpanId": parent} if parent else {}), "name": name, "kind": kind,
            "startTimeUnixNano": str(start), "endTimeUnixNano": str(start + round(dur * 1e3)),
            "attributes": _attributes(given)}


def _attributes(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in given.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(inner) for inner in value]}}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the spans of a trace; 2 where there is none."""
    parser = argparse.ArgumentParser(prog="open_telemetry", description="A run as OpenTelemetry spans (OTLP in JSON).")
    parser.add_argument("trace", help="what `semc run --trace` wrote; the run ended when it was written")
    parser.add_argument("--name", default="investigation", help="of the span of the run (default: investigation)")
    arguments = parser.parse_args(argv)
    path = Path(arguments.trace)
    try:
        spans = spans_of(json.loads(path.read_text(encoding="utf-8")), path.stat().st_mtime, arguments.name)
    except (OSError, ValueError, RecursionError) as error:
        print(f"error: {path}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(spans))
    return 0


if __name__ == "__main__":
    sys.exit(main())
