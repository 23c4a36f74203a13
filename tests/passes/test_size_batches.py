"""`size-batches`: batches from calls, memory and what runs beside; and the same again in the run."""

from typing import Any

import pytest
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.reference import reference_engine
from semlang.ir.core import Module, walk
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.passes.cost_model import CostModel
from semlang.passes.fuse_task_groups import FuseTaskGroups
from semlang.passes.manager import run_pipeline
from semlang.passes.propagate_objectives import PropagateObjectives
from semlang.passes.size_batches import SizeBatches

SLOW = CostModel(step=0.01, batch=0.0, prefill_token=1e-3, decode_row=5e-3, kv_token=0.0, attention=0.0)
TARGET = Target({"": ModelTarget(embedded_tokenizer(), costs=SLOW, max_batch=256, max_step_tokens=512)}, "torch")

MAP = '''
  %{v}s = flow.for({list}) |%{v}i: int, %{v}x: text| {{
    %{v}0 = engine.fill({head}, %{v}x, "some constant words") : ctx
    %{v}, %{v}1 = engine.generate(%{v}0) {{output = "{v}", osl = [1, 16]}} : text, ctx
    engine.free(%{v}0, %{v}1)
    flow.yield(%{v})
  }} : list<text>'''


def constant_list(count: int) -> str:
    return "%list = flow.const([" + ", ".join(f'"{i}"' for i in range(count)) + "]) : list<text>"


def groups(text: str, target: Target = TARGET) -> dict[str, dict[str, Any]]:
    """Attributes of the groups by the name of the output of their first call."""
    module = parse_module(SourceFile("test.sir", text))
    run_pipeline(module, [PropagateObjectives(), FuseTaskGroups(), SizeBatches(), SizeBatches()], target)
    return by_output(module)


def by_output(module: Module) -> dict[str, dict[str, Any]]:
    declared = {op.symbol: dict(op.attributes) for op in walk(module.ops) if op.name == "engine.group"}
    found: dict[str, dict[str, Any]] = {}
    for op in walk(module.ops):
        if op.name == "engine.generate":
            group: Any = op.attributes["group"]
            found[str(op.attributes["output"])] = declared[group.name]
    return found


def program(body: str, result: str, objective: str = "throughput") -> str:
    names = ", ".join(f'"{r.strip("%")}"' for r in result.split(", "))
    objectives = ", ".join(objective for _ in result.split(", ")) if ", " not in objective else objective
    return (f"sem.program(@Main) |%xs: list<text>, %a: text| {{\n{body}\n"
            f"sem.return({result}) {{names = [{names}], objective = [{objectives}]}}\n}}")


def with_memory(slots: int) -> Target:
    model = ModelTarget(embedded_tokenizer(), costs=SLOW, kv_slots=slots, max_batch=256, max_step_tokens=512)
    return Target({"": model}, "torch")


def test_a_map_runs_whole_where_it_fits_and_in_parts_where_not() -> None:
    text = program(constant_list(40) + MAP.format(v="y", list="%list", head="engine.root"), "%ys")
    assert groups(text)["y"]["batch"] == 40
    few = groups(text, with_memory(400))["y"]["batch"]
    assert 1 <= few < 20 and "alone" not in groups(text, with_memory(400))["y"]
    assert groups(text, with_memory(800))["y"]["batch"] > few
    assert groups(text, with_memory(1))["y"]["batch"] == 1


def test_a_shared_head_counts_once() -> None:
    head = '%h = engine.fill(engine.root, "' + "a long head " * 40 + '") : ctx\n'
    separate = MAP.format(v="y", list="%list", head="engine.root").replace("some constant", "a long head " * 40)
    together = groups(program(head + constant_list(40) + MAP.format(v="y", list="%list", head="%h"), "%ys"),
                      with_memory(2048))["y"]["batch"]
    assert together >= groups(program(constant_list(40) + separate, "%ys"), with_memory(2048))["y"]["batch"]


def test_unknown_sizes_are_left_to_the_run() -> None:
    assert "batch" not in groups(program(MAP.format(v="y", list="%xs", head="engine.root"), "%ys"))["y"]


def test_throughput_leaves_room_for_latency_beside_it() -> None:
    single = '''
      %s0 = engine.fill(engine.root, %a) : ctx
      %s, %s1 = engine.generate(%s0) {output = "s", osl = [1, 16]} : text, ctx
      engine.free(%s0, %s1)'''
    body = constant_list(40) + MAP.format(v="y", list="%list", head="engine.root") + single
    both = groups(program(body, "%ys, %s", "throughput, latency"))
    assert both["s"]["batch"] == 1 and both["y"]["alone"] == 40
    assert 1 <= both["y"]["batch"] < 40 and 16 <= both["y"]["step_tokens"] < 512
    calm = groups(program(body, "%ys, %s", "throughput, throughput"))
    assert calm["y"]["batch"] == 40 and "step_tokens" not in calm["y"]


def test_what_comes_before_or_after_needs_no_room() -> None:
    body = constant_list(40) + MAP.format(v="y", list="%list", head="engine.root") + '''
      %all = flow.pure(@join, %ys) : text
      %s0 = engine.fill(engine.root, %all) : ctx
      %s, %s1 = engine.generate(%s0) {output = "s", osl = [1, 16]} : text, ctx
      engine.free(%s0, %s1)'''
    found = groups(program(body, "%ys, %s", "throughput, latency"))
    assert found["y"]["batch"] == 40, "all of the map comes before"


def test_an_urgent_call_that_has_ended_needs_no_room() -> None:
    single = '''
      %s0 = engine.fill(engine.root, %a) : ctx
      %s, %s1 = engine.generate(%s0) {output = "s", osl = [1, 16]} : text, ctx
      engine.free(%s0, %s1)'''
    many = MAP.format(v="y", list="%list", head="engine.root")
    for waits in (False, True):
        body = single + constant_list(40) + (many.replace("%yx,", "%yx, %s,") if waits else many)
        found = groups(program(body, "%ys, %s", "throughput, latency"))
        assert (found["y"]["batch"] == 40) == ("step_tokens" not in found["y"]) == waits


def test_groups_at_the_same_time_divide_the_memory() -> None:
    one = MAP.format(v="y", list="%list", head="engine.root")
    two = one + MAP.format(v="z", list="%list", head="engine.root").replace("[1, 16]", "[1, 17]")
    alone = groups(program(constant_list(40) + one, "%ys"), with_memory(1500))["y"]["batch"]
    shared = groups(program(constant_list(40) + two, "%ys, %zs"), with_memory(1500))
    assert shared["y"]["batch"] < alone


def test_a_module_without_groups_is_left_alone() -> None:
    module = parse_module(SourceFile("test.sir", program(
        constant_list(2) + MAP.format(v="y", list="%list", head="engine.root"), "%ys")))
    (run,) = run_pipeline(module, [SizeBatches()], TARGET).runs
    assert run.report.fired == 0


def test_many_groups_are_sized_in_linear_time() -> None:
    """2,000 groups; a pair of each would be four million."""
    calls = "\n".join(f'%c{i} = engine.fill(engine.root, %y{i}) : ctx\n%y{i + 1}, %d{i} = engine.generate(%c{i}) '
                      '{output = "y", osl = [1, 3]} : text, ctx\nengine.free(%c' f'{i}, %d{i})' for i in range(2_000))
    text = program(calls.replace("%y0", "%a"), "%y2000")
    module = parse_module(SourceFile("test.sir", text))
    (*_, last) = run_pipeline(module, [PropagateObjectives(), FuseTaskGroups(), SizeBatches()], with_memory(4096)).runs
    assert last.report.counters["sized"] == 2_000


@pytest.mark.parametrize(("slots", "most"), [(1 << 14, 12), (512, 10)])
def test_a_run_sizes_what_becomes_known(slots: int, most: int) -> None:
    from semlang.backend.executor import run_module

    text = program(MAP.format(v="y", list="%xs", head="engine.root"), "%ys")
    engine = reference_engine(kv_slots=slots, prefix_cache=False, trace=True)
    target = Target({"": ModelTarget(engine.tokenizer, 8192, slots, 256, 2048)}, "reference")
    module = parse_module(SourceFile("test.sir", text))
    run_pipeline(module, [PropagateObjectives(), FuseTaskGroups(), SizeBatches()], target)
    try:
        result = run_module(module, {"": engine}, {"xs": [f"word {i}" for i in range(12)], "a": ""})
        rows: list[Any] = [e.arguments["rows"] for e in engine.drain_events() if e.kind == "step"]
    finally:
        engine.close()
    assert result.ok and result.stats.preemptions == 0
    assert max(rows) <= most and (most == 12) == (max(rows) == 12)
