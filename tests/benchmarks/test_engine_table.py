"""What is chosen, compared and printed; and engines that end, fail or take too long."""

import sys
from pathlib import Path
from typing import Any

import pytest
from comparison import TRIAL_SEED, Cell, Comparison, Contestant, Run, identical, wrong_counts
from peers import OURS, PEERS, Peer
from processes import EngineError, EngineProcess, TooSlow
from report_file import replace_section
from table import Results, best_peer, details, notes, summary
from workloads import SHAPES, Shape

SHAPE = Shape("s", "a workload", ((1, 2), (2, 1)), 3)


def ran(seconds: float, variant: str = "plain", others: float = 0.0) -> Run:
    return Run(variant, seconds, 2 * seconds, others, 0.0)


def cell(*seconds: float, **fields: Any) -> Cell:
    return Cell(trials={"plain": ran(9.0)}, runs=[ran(value) for value in seconds], **fields)


def results(cells: dict[str, Cell], **fields: Any) -> Results:
    return Results([SHAPE], {"s": cells}, {name: name.upper() for name in cells}, {"s": 0.5},
                   {"absent": "not installed"}, **fields)


def test_table() -> None:
    cells = {OURS: cell(1.2, 1.0, 0.9), "quick": cell(1.5, 2.0, 1.6), "slow": Cell(trials={"plain": ran(7.0)}),
             "broken": cell(0.1, error="an output of 2 tokens | instead of 3"), "killed": Cell(too_slow=30.0)}
    lines = summary(results(cells))
    assert lines[2:] == [
        "| the machine's limit | 0.500 |", "| SEMLANG | 1.000 (50%) |", "| QUICK | 1.600 (31%) |",
        "| SLOW | 7.000 (7%) |", "| BROKEN | error: an output of 2 tokens / instead of 3 |",
        "| KILLED | more than 30 |", "| absent | not installed |", "| **best peer / semlang** | **1.60** (quick) |"]
    assert best_peer(cells) == ("quick", 1.6)
    rows = details(results(cells))
    assert rows[2] == "| s | semlang | plain | 3 | 1.000 | 0.900 … 1.200 | 6 | 2.00 | 0% | 1.00 | 50% |"
    assert [row.split(" | ")[1] for row in rows[2:]] == [OURS, "quick", "slow"]
    assert all(row.count("|") == rows[0].count("|") == rows[1].count("|") for row in rows)
    assert all(line.count("|") == lines[0].count("|") for line in lines)


def test_without_ours_or_peers_there_is_no_ratio() -> None:
    for cells in ({"quick": cell(1.0)}, {OURS: cell(1.0)}, {OURS: cell(1.0), "quick": cell(2.0, error="bad")}):
        assert summary(results(cells))[-1] == "| **best peer / semlang** | – |"


def test_disturbed_runs_are_marked() -> None:
    cells = {OURS: Cell({"plain": ran(1.0)}, runs=[ran(1.0, others=0.2), ran(1.0)]), "quick": cell(2.0)}
    text = summary(results(cells))
    assert "1.000* (50%)" in text[3] and "*" not in text[4]
    assert any("not to be quoted" in line for line in notes(results(cells)))


def test_the_best_way_of_driving_counts() -> None:
    both = Cell(trials={"plain": ran(3.0), "primed": ran(2.0, "primed")})
    assert both.measured == [ran(2.0, "primed")]
    assert "primed (plain 3.00)" in details(results({OURS: both}))[2]
    both.runs = [ran(2.5), ran(2.6, "primed"), ran(2.4), ran(2.7, "primed")]
    assert both.measured == [ran(2.5), ran(2.4)]
    assert "| plain (primed 2.65) | 2 |" in details(results({OURS: both}))[2]


def test_tokens_are_counted_and_compared() -> None:
    good = [[[1, 2, 3], [4, 5, 6]]]
    assert wrong_counts(SHAPE, good) == ""
    assert wrong_counts(SHAPE, []) == "0 rounds instead of 1"
    assert wrong_counts(SHAPE, [[[1, 2, 3]]]) == "1 outputs instead of 2"
    assert wrong_counts(SHAPE, [[[1, 2, 3], [4, 5]]]) == "an output of 2 tokens instead of 3"
    assert identical(good, [[[1, 2, 3], [4, 5, 7]]]) == (1, 2)
    cells = {OURS: cell(1.0, outputs=good), "quick": cell(1.0, outputs=[[[1, 2, 3], [4, 5, 7]]])}
    rows = details(results(cells, reference={"s": good}))
    assert rows[2].endswith("| 2 of 2 |") and rows[3].endswith("| 1 of 2 |")


def test_sections_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    replace_section(path, "one", "old")
    replace_section(path, "two", "kept")
    replace_section(path, "one", "new")
    text = path.read_text()
    assert text.startswith("# ") and "old" not in text
    assert text.count("## one\n\nnew\n") == text.count("## two\n\nkept\n") == 1


ENGINE = '''
import json, sys, time
for line in sys.stdin:
    c = json.loads(line)
    if c["command"] == "load":
        answer = {"name": "test engine", "seconds": 0.0}
    elif c["shape"] == "slow":
        time.sleep(60)
    elif c["shape"] == "dies":
        sys.exit(3)
    elif c["shape"] == "fails":
        answer = {"error": "no such thing"}
    else:
        outputs = 2 if c["shape"] == "short" else 3
        seconds = {"plain": 2.0, "primed": 1.1, "other": 1.0}[c["variant"]]
        answer = {"seconds": seconds, "cpu_seconds": c["seed"], "outputs": [[[1] * outputs] * 2]}
    print(json.dumps(answer), flush=True)
'''


def compared(tmp_path: Path, names: list[str], limit: float = 60.0) -> Comparison:
    shapes = [Shape(name, "", SHAPE.levels, SHAPE.outputs) for name in names]
    peer = Peer("test", "", "", shared=("plain", "primed", "other"))
    process = EngineProcess([sys.executable, "-c", ENGINE], {}, tmp_path / "log")
    comparison = Comparison([Contestant(peer, process, {}, {})], shapes, 2, lambda text: None)
    try:
        comparison.load_all()
        comparison.trial(limit)
        comparison.repeat(3, 4.0, limit)
    finally:
        comparison.end()
    return comparison


def test_comparison(tmp_path: Path) -> None:
    cells = compared(tmp_path, ["s", "short", "fails", "dies", "t"]).cells
    good = cells["s"]["test"]
    assert {name: (run.seconds, run.cpu_seconds) for name, run in good.trials.items()} == {
        "plain": (2.0, TRIAL_SEED), "primed": (1.1, TRIAL_SEED + 1), "other": (1.0, TRIAL_SEED + 2)}
    seeds = [run.cpu_seconds for run in good.runs]
    assert [run.variant for run in good.runs] == ["primed", "other"] * 3 and len(set(seeds)) == 6
    assert good.measured == good.runs[1::2] and good.outputs == [[[1] * 3] * 2]
    assert cells["short"]["test"].error == "an output of 2 tokens instead of 3"
    assert cells["fails"]["test"].error == "no such thing"
    assert "ended with code 3" in cells["dies"]["test"].error
    assert len(cells["t"]["test"].runs) == 6, "it is started anew"


def test_too_slow(tmp_path: Path) -> None:
    slow = compared(tmp_path, ["slow"], limit=0.2).cells["slow"]["test"]
    assert slow.too_slow == 0.2 and not slow.measured


def test_process(tmp_path: Path) -> None:
    process = EngineProcess([sys.executable, "-c", ENGINE], {}, tmp_path / "log")
    with pytest.raises(EngineError, match="not started"):
        process.ask({}, 1)
    process.start()
    assert process.ask({"command": "load"}, 60)["name"] == "test engine"
    assert process.cpu_seconds() >= 0 and process.running
    with pytest.raises(TooSlow):
        process.ask({"command": "run", "shape": "slow"}, 0.1)
    assert not process.running
    process.end()


def test_ways_of_driving() -> None:
    assert PEERS["openvino"].variants(SHAPES["a"]) == ("primed", "plain")
    assert PEERS["openvino"].variants(SHAPES["b"]) == ("plain",)
    assert PEERS["transformers-expanded"].variants(SHAPES["b"]) == ()
    assert PEERS["llama.cpp"].variants(SHAPES["e"]) == ("streams",)
    assert all(peer.variants(shape) for name, peer in PEERS.items() for shape in SHAPES.values()
               if name != "transformers-expanded")


def test_peers_are_looked_for(tmp_path: Path) -> None:
    peer = Peer("x", "", "no_such_package", "x")
    assert peer.python(tmp_path) is None
    (tmp_path / "x" / "bin").mkdir(parents=True)
    (tmp_path / "x" / "bin" / "python").touch()
    assert peer.python(tmp_path) is None
    (tmp_path / "x" / "lib" / "python3.11" / "site-packages" / "no_such_package").mkdir(parents=True)
    assert peer.python(tmp_path) == str(tmp_path / "x" / "bin" / "python")
