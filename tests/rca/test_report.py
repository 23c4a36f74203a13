"""Reports: claims without evidence, the schema, Markdown and Slack, whatever telemetry and models have written."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from investigating import RCA, VALIDATOR, valid
from jsonschema import Draft202012Validator
from semlang.frontend.compile import compile_file
from semlang.ir.types import Bool, Enum, Float, Int, List, Map, Option, Record, Text, Type
from semlang.programs.rca.report import main, reports_in, write_report, write_unreadable
from semlang.programs.rca.report_forms import MOST_BLOCKS, SECTION_CHARACTERS, fitting, markdown_of, slack_message

SCHEMAS: Any = VALIDATOR.schema
GOLDEN = Path(__file__).parent / "golden"
INCIDENT = {"id": "1", "time": "2026-03-02T09:00:00Z", "kind": "HighErrorRate", "title": "cart fails",
            "severity": "critical", "scope": "service shop/cart", "service": "cart", "labels": {"app": "cart"},
            "description": "requests of <email-1> fail", "fingerprint": "f", "status": "firing", "source": "json"}
COMPARED = {
    "hypotheses": [{"category": "pool exhausted", "status": "supported", "differ": [], "agree": [
                        {"action": "logs", "result": "pool", "evidence": ["E1"]}]},
                   {"category": "a *lock*", "status": "refuted", "agree": [], "differ": [
                       {"action": "logs", "result": "pool, was <lock>", "evidence": ["E1"]}]},
                   {"category": "x", "status": "open", "agree": [], "differ": []}],
    "unchecked": [{"check": "events", "showed": "yes", "incidents": ["P-1", "P-2"]}],
    "next_check": "latency: high speaks for pool exhausted, normal for x"}
CANDIDATE = {"letter": "B", "id": "P-1", "category": "pool exhausted", "summary": "s", "similarity": 0.5}


def piece(number: int, outcome: str = "ok", text: str = "pool of <ip-1> exhausted") -> dict[str, Any]:
    return {"id": f"E{number}", "source": "logs", "query": f"query {number}", "time": "2026-03-02T09:01:00Z",
            "outcome": outcome, "table": {}, "text": text}


def case(**changes: Any) -> dict[str, Any]:
    return {
        "incident": INCIDENT, "reports": 2, "others": ["Other pod x (firing)"],
        "handler": {"name": "error rate", "rule": "the alert is called HighErrorRate", "version": "error_rate.sem 1"},
        "conclusion": "connections are used up",
        "steps": [{"action": "logs", "result": "pool", "evidence": ["E1"]},
                  {"action": "events", "result": "unknown", "evidence": ["E2"]}],
        "evidence": [piece(1), piece(2, "denied", "may not")], "outcomes": {"ok": 1, "denied": 1},
        "missing": ["E2 logs: denied, query 2 (may not)"],
        "suggestions": [{"action": "restart cart", "command": "kubectl rollout restart", "check": "pods are ready"}],
        "names": {"<ip-1>": "10.1.2.3", "<email-1>": "ada@shop.example"}, **changes}


def said(claims: list[list[tuple[list[int], str]]], shown: list[list[bool]] | None = None,
         **changes: Any) -> dict[str, Any]:
    return {
        "summary": "s", "candidates": [CANDIDATE], "category": "pool exhausted", "letter": "B", "rationale": "alike",
        "votes": {},
        "verdict": "fault", "layer": "application",
        "claims": [[{"evidence": numbers, "claim": text} for numbers, text in section] for section in claims],
        "shown": shown if shown is not None else [[True] * len(section) for section in claims],
        "confidence": {"probability": 0.9, "sufficient": 0.9, "rating": 1.0, "abstain": False, "calibrated": True,
                       "samples": 10},
        "compared": {"hypotheses": [], "unchecked": [], "next_check": ""}, "problems": [], **changes}


def test_claims_are_kept_where_evidence_backs_them_and_set_apart_where_it_does_not() -> None:
    report = valid(write_report(case(), said(
        [[([1], "the pool of <ip-1> is full")], [([7, 1], "half invented")], [([8], "invented"), ([], "bare")],
         [([2], "from what was denied")], [([1], "refuted"), ([1], " ")]],
        [[True], [True], [True, True], [True], [False, True]])))
    assert report["cause"]["statement"] == {"claim": "the pool of 10.1.2.3 is full", "evidence": ["E1"], "shown": True}
    assert report["contributing_factors"] == [{"claim": "half invented", "evidence": ["E1"], "shown": True}]
    assert (report["symptoms"], report["causal_chain"], report["alternatives"]) == ([], [], [])
    assert [(s["claim"], s["evidence"]) for s in report["unsupported"]] == [
        ("invented", []), ("bare", []), ("from what was denied", ["E2"]), ("refuted", ["E1"])]
    assert report["checks"] == {"claims": 6, "without_evidence": 3, "not_shown": 1, "invented": 2}


def test_without_a_backed_cause_the_handlers_conclusion_is_the_statement() -> None:
    report = valid(write_report(case(), said([[([9], "invented")]])))
    assert report["cause"]["statement"] == {"claim": "connections are used up", "evidence": ["E1"], "shown": True}


@pytest.mark.parametrize(("collected", "change", "ending"), [
    (case(), {}, "cause"),
    (case(), {"confidence": None}, "insufficient evidence"),
    (case(), {"category": ""}, "insufficient evidence"),
    (case(evidence=[piece(1, "timeout"), piece(2, "empty")]), {}, "nothing collected"),
    (case(evidence=[], steps=[], handler={"name": "no handler", "rule": "", "version": ""}), {}, "no handler"),
])
def test_how_an_investigation_ends(collected: dict[str, Any], change: dict[str, Any], ending: str) -> None:
    report = valid(write_report(collected, said([], **change)))
    assert report["ending"] == ending and (report["cause"] is not None) == (ending == "cause")


def test_secrets_stay_masked() -> None:
    report = write_report(case(evidence=[piece(1, text="password <password-1> of <email-1>")]), said([]))
    assert report["evidence"][0]["text"] == "password <password-1> of ada@shop.example"
    assert report["incident"]["description"] == "requests of ada@shop.example fail"


def test_the_schema_says_what_the_record_says() -> None:
    Draft202012Validator.check_schema(SCHEMAS)
    program = compile_file(str(RCA / "investigate.sem")).module.find("sem.program", "Investigate")
    assert program is not None
    compare(program.regions[0].ops[-1].operands[0].type, SCHEMAS)


def compare(type: Type, schema: Any) -> None:
    """Raise where a JSON schema describes other values than a type."""
    if "$ref" in schema:
        compare(type, SCHEMAS["$defs"][schema["$ref"].rsplit("/", 1)[1]])
    elif "allOf" in schema:
        compare(type, schema["allOf"][0])
    elif isinstance(type, Option):
        assert schema["oneOf"][0] == {"type": "null"}
        compare(type.element, schema["oneOf"][1])
    elif isinstance(type, Record):
        assert list(schema["properties"]) == schema["required"] == [field.name for field in type.fields]
        assert not schema["additionalProperties"]
        for field in type.fields:
            compare(field.type, schema["properties"][field.name])
    elif isinstance(type, List):
        compare(type.element, schema["items"])
    elif isinstance(type, Map):
        compare(type.element, schema["additionalProperties"])
    elif isinstance(type, Enum):
        assert schema["enum"] == [member.text for member in type.members]
    elif "const" in schema:
        assert isinstance(schema["const"], str) and isinstance(type, Text)
    else:
        names = {Text: "string", Int: "integer", Float: "number", Bool: "boolean"}
        assert schema["type"] == names[type.__class__]


def test_an_unreadable_alert_has_a_report_too() -> None:
    report = valid(write_unreadable("line 3", "the alert is empty"))
    assert report["ending"] == "unreadable alert" and report["missing"] == ["line 3: the alert is empty"]


def example() -> dict[str, Any]:
    """A report with something in every part, and text that wants to be markup."""
    return write_report(
        case(evidence=[piece(1, text="<!channel> **bold** ```\n[link](http://x) & `code`"),
                       piece(2, "denied", "may not")]),
        said([[([1], "the pool is full | <b>")], [([1], "a *star*")], [([1], "# no heading")], [([1], "first")],
              [([1], "aa_b_c _xx_")]], compared=COMPARED, votes={"pool exhausted": 2, "x": 1},
             problems=["the verdict: late"])) | {
                  "spent": {"calls": 30, "prompt_tokens": 2000, "filled_tokens": 200, "generated_tokens": 90,
                            "seconds": 1.5}}


@pytest.mark.parametrize("form", ["markdown", "slack"])
def test_golden(form: str) -> None:
    report = valid(example())
    shown = markdown_of(report) if form == "markdown" else json.dumps(slack_message(report), indent=1) + "\n"
    path = GOLDEN / f"report.{'md' if form == 'markdown' else 'json'}"
    assert shown == path.read_text(encoding="utf-8")


def test_slack_keeps_its_limits_whatever_is_said() -> None:
    long = "&<>" * 3000
    report = write_report(
        case(steps=[{"action": long, "result": long, "evidence": ["E1"]}] * 90, others=[long] * 20,
             incident=INCIDENT | {"title": long}, missing=[long] * 60),
        said([[([1], long)] * 3] * 5))
    message = slack_message(report)
    assert len(message["blocks"]) <= MOST_BLOCKS
    for block in message["blocks"]:
        texts = [block["text"]] if "text" in block else block.get("elements", [])
        for text in texts:
            assert 0 < len(text["text"]) <= (150 if text["type"] == "plain_text" else SECTION_CHARACTERS)
            if text["type"] == "mrkdwn":
                assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", text["text"])


@given(st.text(st.sampled_from("&<>ab;"), max_size=60), st.integers(1, 40))
@settings(deadline=None)
def test_nothing_is_cut_within_an_entity(text: str, most: int) -> None:
    from semlang.programs.rca.report_forms import escape_slack

    shown = fitting(escape_slack(text), most)
    assert len(shown) <= most
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", shown)


@given(st.text(max_size=80))
@settings(deadline=None, max_examples=60)
def test_any_text_makes_a_report_of_one_shape(text: str) -> None:
    report = write_report(case(incident=INCIDENT | {"title": text or "x"}), said([[([1], text)]]))
    lines = markdown_of(report).split("\n")
    assert [line for line in lines if line.startswith("## ")] == [
        "## What was found", "## What may be done", "## What is missing", "## Past incidents", "## Evidence"]
    assert len([line for line in lines if line.startswith("# ")]) == 1
    json.dumps(slack_message(report)).encode()


def test_the_command_line_shows_runs_and_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = write_report(case(), said([]))
    stats = {"calls": 3, "prompt_tokens": 10, "filled_tokens": 5, "generated_tokens": 2, "makespan_s": 0.5}
    run = tmp_path / "run.json"
    run.write_text(json.dumps({"outputs": {"report": report}, "errors": {}, "stats": stats}))
    assert main([str(run), "--form", "json"]) == 0
    shown = valid(json.loads(capsys.readouterr().out))
    assert shown["spent"] == {"calls": 3, "prompt_tokens": 10, "filled_tokens": 5, "generated_tokens": 2,
                              "seconds": 0.5}
    run.write_text(json.dumps({"outputs": {"reports": [report, report]}, "errors": {}, "stats": stats}))
    assert main([str(run), "--form", "slack"]) == 0
    texts = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert texts == ["cart fails (service shop/cart)"] * 2
    assert main([str(run)]) == 0 and capsys.readouterr().out.count("\n# cart fails") == 1
    assert reports_in(json.dumps(report))[0]["spent"] is None


@pytest.mark.parametrize(("content", "message"), [
    ("{", "this is no JSON"), ("[]", "no report of version 1"),
    ('{"report": {"version": "0"}}', "no report of version 1"),
    ('{"outputs": {}, "errors": {"report": {"message": "the alert is empty", "location": ""}}}', "the alert is empty"),
])
def test_what_is_no_report_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str,
                                             message: str) -> None:
    (tmp_path / "x.json").write_text(content)
    assert main([str(tmp_path / "x.json")]) == 2
    assert message in capsys.readouterr().err
    assert main([str(tmp_path / "absent")]) == 2


@pytest.mark.parametrize("text", [
    "", "[]", "5", '{"version": "1"}', '{"outputs": [1], "stats": 5}', '{"outputs": {"report": {"version": "1"}}}',
    '{"outputs": {}, "errors": [1]}', "[" * 100_000])
@pytest.mark.parametrize("form", ["markdown", "slack"])
def test_what_is_no_report_is_one_line(
        text: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(text)
    assert main([str(tmp_path / "run.json"), "--form", form]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_report_with_a_wrong_type_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_text(json.dumps(example() | {"incident": 5}))
    assert main([str(tmp_path / "run.json")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'run.json'}: this is no whole report")
