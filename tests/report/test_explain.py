"""`semc explain`: what it says of calls, groups and passes, as text and as JSON, before and after a run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from semlang.cli.main import main
from semlang.report.explain_text import seconds

PROGRAMS = Path(__file__).parents[2] / "programs"
FAN_OUT = '''
semantic Rate(rules: text, item: text) -> rating: text {
  """
  You rate items for a shop. These are the rules that every rating has to follow, one after another:
  {{input:rules}}
  Item: {{input:item}}
  Rating: {{output:rating max_tokens=4}}
  """
}
semantic Sum(ratings: list[text]) -> total: int(0..99) {
  """Ratings:{{for r in ratings}} {{input:r}}{{end}} Total: {{output:total}}"""
}
program Main(rules: text = "Be brief. Be fair.", items: list[text]) -> (total: int, ratings: list[text]) {
  let ratings = [Rate(rules, item) for item in items]
  return Sum(ratings) @ latency, ratings
}
'''


@pytest.fixture(autouse=True)
def inside_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMC_MODEL", raising=False)
    Path("main.sem").write_text(FAN_OUT, encoding="utf-8")


def explain_json(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """What `semc explain main.sem --json` prints on the reference engine."""
    assert main(["explain", "main.sem", "--engine", "reference", "--json", *arguments]) == code
    return json.loads(capsys.readouterr().out)


def explain_text(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What `semc explain` prints on the reference engine."""
    assert main(["explain", *arguments, "--engine", "reference"]) == 0
    return capsys.readouterr().out


def test_calls_passes_and_groups_have_the_fixed_keys(capsys: pytest.CaptureFixture[str]) -> None:
    found = explain_json(capsys)
    assert len(found["calls"]) == 2
    for call in found["calls"]:
        assert {"site", "objective", "group", "slack_s", "prompt_tokens", "output_tokens", "shared_tokens"} <= set(call)
    for each in found["groups"]:
        assert {"id", "size", "objective", "batch"} <= set(each)
    for each in found["passes"]:
        assert {"name", "fired", "seconds"} <= set(each)
    assert {p["name"] for p in found["passes"]} >= {"inline", "tokenize", "lower-engine", "free-contexts"}


def test_a_site_is_the_call_in_the_source(capsys: pytest.CaptureFixture[str]) -> None:
    rate, total = explain_json(capsys)["calls"]
    lines = FAN_OUT.splitlines()
    for call, name in ((rate, "Rate"), (total, "Sum")):
        path, line, column = call["site"].rsplit(":", 2)
        assert path == "main.sem"
        assert lines[int(line) - 1][int(column) - 1 :].startswith(f"{name}(")
        assert call["function"] == name
        assert call["called_from"] == [call["site"]]
    path, line, column = rate["hole"].rsplit(":", 2)
    assert "{{output:rating" in lines[int(line) - 1]


def test_unknown_numbers_are_words_and_null(capsys: pytest.CaptureFixture[str]) -> None:
    rate, total = explain_json(capsys)["calls"]
    assert rate["times"]["words"] == "len(items)"
    assert rate["times"]["bounds"] == [0, None]
    assert total["times"]["words"] == "1"
    assert total["prompt_tokens"][1] is None
    assert total["output_tokens"][1] < 256
    assert explain_json(capsys)["assumed"]


def test_arguments_make_numbers_known(capsys: pytest.CaptureFixture[str]) -> None:
    found = explain_json(capsys, "--arg", 'items=["a cup", "a lamp", "a rug"]')
    assert found["calls"][0]["times"]["words"] == "3"
    assert found["calls"][0]["times"]["bounds"] == [3, 3]
    assert found["predicted"]["calls"] == 4
    assert not any("turns of the loop" in text for text in found["assumed"])


def test_what_calls_share_is_told_and_saves_fills(capsys: pytest.CaptureFixture[str]) -> None:
    found = explain_json(capsys, "--arg", 'items=["a cup", "a lamp", "a rug"]')
    rate, total = found["calls"]
    assert 0 < rate["shared_tokens"] < rate["prompt_tokens"][1]
    assert total["shared_tokens"] == 0
    # The head of the prompt is filled once instead of three times.
    assert found["before"]["filled_tokens"] - found["predicted"]["filled_tokens"] == 2 * rate["shared_tokens"]
    assert found["before"]["prompt_tokens"] == found["predicted"]["prompt_tokens"]
    assert found["measured"] is None


def test_each_pass_says_what_a_run_takes_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = explain_json(capsys)
    filled = [p["predicted"]["filled_tokens"] for p in found["passes"]]
    assert filled == sorted(filled, reverse=True) and filled[-1] < filled[0]
    assert filled[0] == found["before"]["filled_tokens"] and filled[-1] == found["predicted"]["filled_tokens"]
    assert all(p["sentence"] for p in found["passes"])


def test_without_optimization_nothing_is_saved(capsys: pytest.CaptureFixture[str]) -> None:
    found = explain_json(capsys, "-O0")
    assert found["before"] == found["predicted"]
    assert [p["name"] for p in found["passes"]] == ["inline", "tokenize", "dce", "lower-engine", "free-contexts"]


def test_analyze_puts_what_was_measured_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--arg", 'items=["a cup", "a lamp", "a rug"]']
    found = explain_json(capsys, "--analyze", *arguments)
    rate, total = (call["measured"] for call in found["calls"])
    assert (rate["runs"], total["runs"]) == (3, 1)
    stats = found["measured"]
    assert stats["calls"] == 4
    sums = {key: 3 * rate[key] + total[key] for key in ("prompt_tokens", "shared_tokens", "generated_tokens")}
    assert sums == pytest.approx({key: stats[key] for key in sums}, abs=0.5)
    assert found["calls"][0]["prompt_tokens"][0] <= rate["prompt_tokens"] <= found["calls"][0]["prompt_tokens"][1]
    assert found["calls"][1]["output_tokens"][0] <= total["generated_tokens"] <= found["calls"][1]["output_tokens"][1]
    assert main(["explain", "main.sem", "--engine", "reference", "--analyze", *arguments]) == 0
    text = capsys.readouterr().out
    assert "Predicted and measured" in text and "Measured calls" in text


def test_analyze_fails_as_a_run_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "main.sem", "--analyze"]) == 2
    assert "needs the argument `items`" in capsys.readouterr().err
    Path("fails.sem").write_text('program Main() -> x: int { return 1 // 0 }', encoding="utf-8")
    assert main(["explain", "fails.sem", "--analyze", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["calls"] == []
    assert "division by zero" in captured.err


@pytest.mark.parametrize("program", sorted(PROGRAMS.glob("*.sem")), ids=lambda path: path.stem)
def test_the_text_of_every_example_fits(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = explain_text(capsys, str(program))
    assert max(map(len, text.splitlines())) <= 100
    assert "Calls in" in text and "Passes" in text and "Predicted" in text
    assert text.count("\n  c1  ") == 1


def test_long_tables_are_cut_with_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    calls = "\n".join(f'  let a{n} = Ask("{n}")' for n in range(60))
    Path("many.sem").write_text(
        'semantic Ask(q: text) -> a: text { """Question {{input:q}}: {{output:a max_tokens=2}}""" }\n'
        f"program Main() -> xs: list[text] {{\n{calls}\n  return [{', '.join(f'a{n}' for n in range(60))}]\n}}\n")
    short = explain_text(capsys, "many.sem")
    assert "… and 20 more call sites (--all shows them)" in short and "c41" not in short
    whole = explain_text(capsys, "many.sem", "--all")
    assert "  c60  Ask.a  " in whole and "more call sites" not in whole


def test_a_call_made_in_a_program_that_is_called_names_both_places(capsys: pytest.CaptureFixture[str]) -> None:
    Path("main.sem").write_text('''
semantic Ask(q: text) -> a: text { """{{input:q}}? {{output:a max_tokens=2}}""" }
program Inner(q: text) -> a: text { return Ask(q) }
program Main() -> (a: text, b: text) { return Inner("x"), Inner("y") }
''')
    calls = explain_json(capsys)["calls"]
    assert [call["site"] for call in calls] == ["main.sem:3:44"] * 2
    assert [call["called_from"] for call in calls] == [["main.sem:3:44", "main.sem:4:47"],
                                                       ["main.sem:3:44", "main.sem:4:59"]]


def test_printed_ir_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "main.sem", "--engine", "reference", "--locations", "-o", "main.sir"]) == 0
    found = json.loads(explain_text(capsys, "main.sir", "--json"))
    assert [call["site"].rsplit(":", 2)[1] for call in found["calls"]] == ["14", "15"]
    assert found["passes"] == []


def test_explaining_imports_neither_weights_nor_hosts() -> None:
    Path("tools.py").write_text("raise SystemExit('imported')\n")
    Path("main.sem").write_text('host look() -> text from "tools:look"\n' + FAN_OUT.replace(
        "let ratings", "let unused = look()\n  let ratings"))
    code = ("import sys; from semlang.cli.main import main; code = main(['explain', 'main.sem']); "
            "sys.exit(code or [m for m in ('torch', 'transformers', 'tools') if m in sys.modules] or 0)")
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Calls in main.sem" in done.stdout


@pytest.mark.parametrize("engine", ["reference:2", "simulate"])
def test_other_engines_are_measured_too(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(PROGRAMS / "map_reduce_summary.sem"), "--engine", engine, "--analyze", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    filled = sum(m["runs"] * (m["prompt_tokens"] - m["shared_tokens"])
                 for call in found["calls"] if (m := call["measured"]))
    assert filled == pytest.approx(found["measured"]["filled_tokens"], abs=2)
    assert sum(call["measured"]["runs"] for call in found["calls"]) == found["measured"]["calls"]


@pytest.mark.parametrize(("value", "text"), [
    (0, "0 s"), (9.999e-4, "1 ms"), (9.99e-4, "999 µs"), (0.9996, "1 s"), (0.9994, "999 ms"), (999.7, "1000 s"),
    (1.234, "1.23 s"),
])
def test_times_have_no_exponents(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize("command", [["explain", "--analyze"], ["view", "-o", "page.html"]])
def test_missed_deadlines_are_told(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("late.sem").write_text('semantic F(x: text) -> y: text { """Say {{x}}: {{output:y max_tokens=4}}""" }\n'
                                'program Main() -> y: text { return F("a") @ deadline(0.0001s) }\n')
    assert main([*command, "late.sem", "--engine", "simulate"]) == 0
    assert "`y` came 0.0" in capsys.readouterr().err
