"""Host functions: where they are found, what crosses the border, timeouts, retries and the memo."""

import asyncio
import dataclasses
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from semlang.backend import hosts as hosts_module

Host = Callable[[Callable[..., Any]], Callable[..., Any]]


def program(result: str, *, attributes: str = "pure = true", parameter: str = "text", declarations: str = "",
            target: str = "executor_test_hosts:f") -> str:
    return f'''{declarations}
    sem.host(@f) {{target = "{target}", parameters = {{x = !{parameter}}}, result = !{result}, {attributes}}}
    sem.program(@Main) |%x: {parameter}| {{
      %r = flow.host(@f, %x) : {result}
      sem.return(%r) {{names = ["r"]}}
    }}'''


POINT = 'sem.record(@Point) {fields = {x = !int, label = !text, note = !option<text>}}\n'
COLOR = 'sem.enum(@Color) {members = ["red", "green"], texts = ["red", "deep green"]}\n'


@dataclasses.dataclass
class Point:
    x: int
    label: str
    note: str | None = None


class PydanticLike:
    """An object as pydantic makes them."""

    model_fields: ClassVar[dict[str, None]] = {"x": None, "label": None, "note": None}

    def __init__(self) -> None:
        self.x, self.label, self.note = 1, "a", None


POINT_VALUE = {"x": 1, "label": "a", "note": None}


@pytest.mark.parametrize(("type", "given", "value"), [
    ("float", 3, 3.0), ("list<int>", (1, 2), [1, 2]), ("record<Point>", Point(1, "a"), POINT_VALUE),
    ("record<Point>", PydanticLike(), POINT_VALUE), ("record<Point>", {"label": "a", "x": 1}, POINT_VALUE),
    ("option<int>", None, None), ("enum<Color>", "deep green", "green"), ("enum<Color>", "green", "green"),
    ("map<list<float>>", {"a": [1]}, {"a": [1.0]}), ("bool", True, True), ("int", 2**63 - 1, 2**63 - 1),
])
def test_accepted_results(execute: Any, host: Host, type: str, given: Any, value: Any) -> None:
    @host
    def f(x: str) -> Any:
        return given

    result = execute(program(type, declarations=POINT + COLOR), {"x": ""})
    assert result.errors == {}
    assert result.outputs["r"] == value and result.outputs["r"].__class__ is value.__class__


@pytest.mark.parametrize(("type", "given", "words"), [
    ("int", True, "int"), ("int", 1.0, "int"), ("int", 2**63, "64 bits"), ("float", float("nan"), "finite"),
    ("float", float("inf"), "finite"), ("float", True, "float"), ("text", "\ud800", "surrogate"),
    ("text", b"x", "text"),
    ("text", None, "none"), ("record<Point>", {"x": 1, "label": "a", "z": 2}, "z"),
    ("record<Point>", {"x": 1}, "label"), ("list<int>", [1, "2"], "[1]"), ("list<int>", "12", "list"),
    ("enum<Color>", "blue", "deep green"), ("map<int>", {1: 1}, "text"),
])
def test_rejected_results(execute: Any, host: Host, type: str, given: Any, words: str) -> None:
    @host
    def f(x: str) -> Any:
        return given

    result = execute(program(type, declarations=POINT + COLOR), {"x": ""})
    error = result.errors["r"]
    assert error.kind == "boundary" and error.message.startswith("the host function `f` gave a wrong value")
    assert words in error.message


def test_arguments_are_plain_data_and_copies(execute: Any, host: Host) -> None:
    seen: list[Any] = []

    @host
    def f(x: Any) -> int:
        seen.append(x)
        x["points"][0]["label"] = "changed"
        x["points"].append("more")
        x["color"] = 3
        return 0

    value = {"points": [POINT_VALUE], "color": "green", "table": {"b": 1, "a": 2}}
    record = "record<points: list<record<Point>>, color: enum<Color>, table: map<int>>"
    result = execute(POINT + COLOR + f'''
    sem.host(@f) {{target = "executor_test_hosts:f", parameters = {{x = !{record}}}, result = !int, pure = true}}
    sem.program(@Main) |%x: {record}| {{
      %a = flow.host(@f, %x) : int
      %b = flow.host(@f, %x) : int
      sem.return(%x, %a, %b) {{names = ["x", "a", "b"]}}
    }}''', {"x": value})
    assert result.outputs["x"] == value, "a host changed a value of the program"
    assert seen[0]["points"][1:] == ["more"] and seen[0]["table"] == {"a": 2, "b": 1}


def test_enums_reach_hosts_as_their_text(execute: Any, host: Host) -> None:
    @host
    def f(x: str) -> str:
        return x

    text = program("text", parameter="enum<Color>", declarations=COLOR)
    assert execute(text, {"x": "green"}).outputs == {"r": "deep green"}


def test_results_are_copies(execute: Any, host: Host) -> None:
    shared = [1, 2]

    @host
    def f(x: str) -> list[int]:
        return shared

    result = execute(program("list<int>"), {"x": ""})
    shared.append(3)
    assert result.outputs == {"r": [1, 2]}


def test_coroutines_are_awaited_on_one_loop(execute: Any, host: Host) -> None:
    loops = set()

    @host
    async def f(x: str) -> str:
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0.001)
        return x + "!"

    result = execute('''
    sem.host(@f) {target = "executor_test_hosts:f", parameters = {x = !text}, result = !text, pure = true}
    sem.program(@Main) |%xs: list<text>| {
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %y = flow.host(@f, %x) : text
        flow.yield(%y)
      } : list<text>
      sem.return(%ys) {names = ["ys"]}
    }''', {"xs": ["a", "b", "c"]})
    assert result.outputs == {"ys": ["a!", "b!", "c!"]} and len(loops) == 1


def test_coroutines_fail_like_functions(execute: Any, host: Host) -> None:
    @host
    async def f(x: str) -> int:
        await asyncio.sleep(0)
        raise KeyError(x)

    assert execute(program("int"), {"x": "k"}).errors["r"].message == "the host function `f` raised KeyError: 'k'"


@pytest.mark.parametrize("error", [SystemExit(3), AssertionError("no"), StopIteration(), KeyboardInterrupt()])
def test_whatever_a_host_raises_is_a_failure_of_the_call(execute: Any, host: Host, error: BaseException) -> None:
    @host
    def f(x: str) -> str:
        raise error

    assert type(error).__name__ in execute(program("text"), {"x": ""}).errors["r"].message


def test_a_function_that_does_not_answer_in_time_fails_and_the_run_goes_on(execute: Any, host: Host) -> None:
    release = threading.Event()

    @host
    def f(x: str) -> str:
        release.wait(20)
        return x

    started = time.monotonic()
    result = execute(program("text", attributes="pure = true, timeout = 0.05"), {"x": ""})
    release.set()
    assert result.errors["r"].message == "the host function `f` did not answer within 0.05 s"
    assert result.errors["r"].kind == "timeout"
    assert time.monotonic() - started < 15


def test_the_time_of_a_call_that_has_answered_does_not_matter(execute: Any, host: Host) -> None:
    @host
    def f(x: str) -> str:
        return x

    @host
    def slow(x: str) -> str:
        time.sleep(0.3)
        return x

    result = execute('''
    sem.host(@f) {
      target = "executor_test_hosts:f", parameters = {x = !text}, result = !text, timeout = 0.1, pure = true}
    sem.host(@slow) {target = "executor_test_hosts:slow", parameters = {x = !text}, result = !text, pure = true}
    sem.program(@Main) |%x: text| {
      %a = flow.host(@f, %x) : text
      %b = flow.host(@slow, %x) : text
      sem.return(%a, %b) {names = ["a", "b"]}
    }''', {"x": "v"})
    assert result.outputs == {"a": "v", "b": "v"}


def test_a_coroutine_that_does_not_answer_in_time_is_cancelled(execute: Any, host: Host) -> None:
    cancelled = threading.Event()

    @host
    async def f(x: str) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return x

    result = execute(program("text", attributes="pure = true, timeout = 1.0"), {"x": ""})
    assert result.errors["r"].kind == "timeout"
    assert cancelled.wait(10)


def test_stuck_functions_do_not_use_up_the_threads(execute: Any, host: Host) -> None:
    release = threading.Event()

    @host
    def f(x: str) -> str:
        if x != "last":
            release.wait(60)
        return x

    result = execute('''
    sem.host(@f) {target = "executor_test_hosts:f", parameters = {x = !text}, result = !text, timeout = 0.2}
    sem.program(@Main) |%xs: list<text>, %last: text, %e: effect| {
      %ys, %e1 = flow.for(%xs, %e) {unordered = true} |%i: int, %x: text, %g: effect| {
        %y, %g1 = flow.host(@f, %x, %g) : text, effect
        flow.yield(%y, %g1)
      } : list<text>, effect
      %z, %e2 = flow.host(@f, %last, %e1) : text, effect
      sem.return(%z, %e2) {names = ["z"]}
    }''', {"xs": [str(i) for i in range(70)], "last": "last"})
    release.set()
    assert result.outputs == {"z": "last"} and len(result.errors) == 70


def test_a_stuck_thread_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text("import time\ndef f(x):\n    time.sleep(600)\n")
    (tmp_path / "program.sir").write_text(program("text", attributes="pure = true, timeout = 0.05", target="stuck:f"))
    script = textwrap.dedent('''
        import pathlib, sys
        from semlang.backend.executor import run_module
        from semlang.ir.parser import parse_module
        from semlang.ir.source import SourceFile
        folder = pathlib.Path(sys.argv[1])
        module = parse_module(SourceFile("program.sir", (folder / "program.sir").read_text()))
        print(run_module(module, {}, {"x": ""}, host_directory=str(folder)).errors["r"].kind)
    ''')
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.stdout == "timeout\n", done.stderr


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries begin at once."""
    monkeypatch.setattr(hosts_module, "FIRST_DELAY", 0.0)


@pytest.mark.parametrize(("retries", "good"), [(0, False), (1, False), (2, True), (5, True)])
def test_retries_follow_failures(execute: Any, host: Host, no_delay: None, retries: int, good: bool) -> None:
    calls: list[str] = []

    @host
    def f(x: str) -> str:
        calls.append(x)
        if len(calls) < 3:
            raise OSError("try again")
        return x

    result = execute(program("text", attributes=f"pure = true, retries = {retries}"), {"x": "v"})
    assert len(calls) == min(3, retries + 1)
    if good:
        assert result.outputs == {"r": "v"}
    else:
        times = f" (attempt {retries + 1} of {retries + 1})" if retries else ""
        assert result.errors["r"].message == f"the host function `f` raised OSError: try again{times}"


@pytest.mark.parametrize(("attributes", "calls"), [("retries = 2", 1), ("retries = 2, idempotent = true", 3)])
def test_hosts_with_effects_are_only_repeated_if_that_is_harmless(execute: Any, host: Host, no_delay: None,
                                                                  attributes: str, calls: int) -> None:
    count = 0

    @host
    def f(x: str) -> str:
        nonlocal count
        count += 1
        raise OSError("no")

    execute(f'''
    sem.host(@f) {{target = "executor_test_hosts:f", parameters = {{x = !text}}, result = !text, {attributes}}}
    sem.program(@Main) |%x: text, %e: effect| {{
      %r, %e1 = flow.host(@f, %x, %e) : text, effect
      sem.return(%r, %e1) {{names = ["r"]}}
    }}''', {"x": "v"}, check=False)
    assert count == calls


def test_a_retry_after_a_timeout_ignores_the_late_answer(execute: Any, host: Host, no_delay: None) -> None:
    calls: list[int] = []
    first_may_end = threading.Event()

    @host
    def f(x: str) -> str:
        calls.append(len(calls))
        if len(calls) == 1:
            first_may_end.wait(20)
            return "late"
        first_may_end.set()
        time.sleep(0.02)
        return "second"

    result = execute(program("text", attributes="pure = true, timeout = 0.3, retries = 1"), {"x": "v"})
    assert result.outputs == {"r": "second"} and calls == [0, 1]


def test_every_attempt_gets_its_own_copy_of_the_arguments(execute: Any, host: Host, no_delay: None) -> None:
    @host
    def f(x: list[str]) -> int:
        x.append("more")
        if len(x) == 2 and not tried:
            tried.append(1)
            raise ValueError
        return len(x)

    tried: list[int] = []
    text = program("int", parameter="list<text>", attributes="pure = true, retries = 1")
    assert execute(text, {"x": ["a"]}).outputs == {"r": 2}


MEMO = '''
sem.host(@f) {target = "executor_test_hosts:f", parameters = {x = !PARAMETER}, result = !text, pure = true}
sem.program(@Main) |%xs: list<PARAMETER>| {
  %ys = flow.for(%xs) |%i: int, %x: PARAMETER| {
    %o = flow.host(@f, %x) : text
    flow.yield(%o)
  } : list<text>
  %os = flow.for(%ys) |%j: int, %y: text| {
    %r = flow.pure(@outcome, %y) : record<ok: bool, value: option<text>, message: text>
    flow.yield(%r)
  } : list<record<ok: bool, value: option<text>, message: text>>
  sem.return(%os) {names = ["os"]}
}'''


def test_equal_calls_of_a_pure_host_share_one_execution(execute: Any, host: Host) -> None:
    calls: list[Any] = []

    @host
    def f(x: Any) -> str:
        calls.append(x)
        time.sleep(0.005)
        return f"<{x}>"

    result = execute(MEMO.replace("PARAMETER", "text"), {"xs": ["a", "b", "a", "a"]})
    assert sorted(calls) == ["a", "b"]
    assert [o["value"] for o in result.outputs["os"]] == ["<a>", "<b>", "<a>", "<a>"]


def test_the_memo_compares_canonical_bytes(execute: Any, host: Host) -> None:
    calls: list[Any] = []

    @host
    def f(x: Any) -> str:
        calls.append(x)
        return repr(x)

    result = execute(MEMO.replace("PARAMETER", "float"), {"xs": [0.0, -0.0, 1, 1.0]})
    assert len(calls) == 3
    assert [o["value"] for o in result.outputs["os"]] == ["0.0", "-0.0", "1.0", "1.0"]


def test_failures_are_not_memoized(execute: Any, host: Host) -> None:
    calls: list[str] = []

    @host
    def f(x: str) -> str:
        calls.append(x)
        if len(calls) == 1:
            raise ValueError("first")
        return x

    result = execute('''
    sem.host(@f) {target = "executor_test_hosts:f", parameters = {x = !text}, result = !text, pure = true}
    sem.program(@Main) |%x: text| {
      %a = flow.host(@f, %x) : text
      %b = flow.try(%a) {
        %again = flow.host(@f, %x) : text
        flow.yield(%again)
      } : text
      sem.return(%b) {names = ["b"]}
    }''', {"x": "v"})
    assert result.outputs == {"b": "v"} and len(calls) == 2


def test_hosts_with_effects_are_never_memoized(execute: Any, host: Host) -> None:
    calls: list[str] = []

    @host
    def f(x: str) -> str:
        calls.append(x)
        return str(len(calls))

    result = execute('''
    sem.host(@f) {target = "executor_test_hosts:f", parameters = {x = !text}, result = !text}
    sem.program(@Main) |%x: text, %e: effect| {
      %a, %e1 = flow.host(@f, %x, %e) : text, effect
      %b, %e2 = flow.host(@f, %x, %e1) : text, effect
      sem.return(%a, %b, %e2) {names = ["a", "b"]}
    }''', {"x": "v"})
    assert result.outputs == {"a": "1", "b": "2"}


def test_a_host_may_return_nothing(execute: Any, host: Host) -> None:
    calls: list[str] = []

    @host
    def f(x: str) -> None:
        calls.append(x)

    result = execute('''
    sem.host(@f) {target = "executor_test_hosts:f", parameters = {x = !text}}
    sem.program(@Main) |%x: text, %e: effect| {
      %e1 = flow.host(@f, %x, %e) : effect
      sem.return(%x, %e1) {names = ["x"]}
    }''', {"x": "v"})
    assert result.outputs == {"x": "v"} and calls == ["v"]


# ---- where functions are found ----


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def call(execute: Any, target: str, folder: Path) -> Any:
    return execute(program("text", target=target), {"x": "v"}, host_directory=str(folder))


def test_modules_beside_the_program_come_first_and_the_path_stays(execute: Any, tmp_path: Path) -> None:
    write(tmp_path, "host_beside_helper.py", "def shout(x): return x.upper()\n")
    write(tmp_path, "host_beside.py", "import host_beside_helper\ndef f(x): return host_beside_helper.shout(x)\n")
    before = list(sys.path), list(sys.meta_path)
    assert call(execute, "host_beside:f", tmp_path).outputs == {"r": "V"}
    assert (sys.path, sys.meta_path) == before


def test_packages_beside_the_program_and_imports_while_they_run(execute: Any, tmp_path: Path) -> None:
    write(tmp_path, "host_package/__init__.py", "")
    write(tmp_path, "host_package/inner.py", """
        from . import other

        def f(x):
            import host_late
            return other.g(x) + host_late.h()
    """)
    write(tmp_path, "host_package/other.py", "def g(x): return x + x\n")
    write(tmp_path, "host_late.py", "def h(): return '!'\n")
    assert call(execute, "host_package.inner:f", tmp_path).outputs == {"r": "vv!"}


def test_equal_names_in_different_directories_are_different_modules(execute: Any, tmp_path: Path) -> None:
    for folder, word in (("a", "one"), ("b", "two")):
        write(tmp_path, f"{folder}/host_twin.py", f"def f(x): return x + '{word}'\n")
    assert call(execute, "host_twin:f", tmp_path / "a").outputs == {"r": "vone"}
    assert call(execute, "host_twin:f", tmp_path / "b").outputs == {"r": "vtwo"}
    assert call(execute, "host_twin:f", tmp_path / "a").outputs == {"r": "vone"}


def test_a_module_beside_the_program_hides_an_installed_one_only_for_hosts(execute: Any, tmp_path: Path) -> None:
    import colorsys

    write(tmp_path, "colorsys.py", "def f(x): return 'mine'\n")
    write(tmp_path, "json/__init__.py", "")
    write(tmp_path, "json/tool.py", "def f(x): return 'my json'\n")
    assert call(execute, "colorsys:f", tmp_path).outputs == {"r": "mine"}
    assert call(execute, "json.tool:f", tmp_path).outputs == {"r": "my json"}
    assert sys.modules["colorsys"] is colorsys
    import json

    assert json.loads("1") == 1


def test_installed_modules_are_found(execute: Any, tmp_path: Path) -> None:
    assert call(execute, "textwrap:dedent", tmp_path).outputs == {"r": "v"}
    assert call(execute, "os.path:basename", tmp_path).outputs == {"r": "v"}


def test_the_declaration_names_its_directory(execute: Any, tmp_path: Path) -> None:
    write(tmp_path, "host_declared.py", "def f(x): return x + '.'\n")
    text = program("text", target="host_declared:f", attributes=f'pure = true, directory = "{tmp_path}"')
    assert execute(text, {"x": "v"}, host_directory="/nowhere").outputs == {"r": "v."}


@pytest.mark.parametrize(("target", "words"), [
    ("host_missing_module:f", ["cannot import the module `host_missing_module`", "looked in", "ModuleNotFoundError"]),
    ("host_broken:f", ["cannot import the module `host_broken`", "ZeroDivisionError"]),
    ("host_quits:f", ["host_quits", "SystemExit(3)"]),
    ("host_fine:missing", ["has no function `missing`", "host_fine.py"]),
    ("host_fine:number", ["`number`", "is not a function"]),
    ("host_fine", ["module:function"]),
])
def test_what_cannot_be_found_fails_the_call_with_a_clear_message(execute: Any, tmp_path: Path, target: str,
                                                                  words: list[str]) -> None:
    write(tmp_path, "host_broken.py", "1 / 0\n")
    write(tmp_path, "host_quits.py", "raise SystemExit(3)\n")
    write(tmp_path, "host_fine.py", "number = 3\n")
    error = call(execute, target, tmp_path).errors["r"]
    assert error.kind == "host"
    for word in words:
        assert word in error.message
