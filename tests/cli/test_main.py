"""Dispatch, exit codes and messages that all commands share."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from semlang.cli import main as cli
from semlang.cli.main import main

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "tokenizers", "numpy", "jinja2", "outlines_core", "huggingface_hub", "rich")


def semc(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `semc` as a process of its own."""
    return subprocess.run([sys.executable, "-P", "-m", "semlang", *arguments], capture_output=True, text=True,
                          encoding="utf-8", cwd=ROOT, env={**os.environ, **environment})


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name}" in shown for name in [*cli.SUMMARIES, *cli.PLANNED])
    assert main([]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("command", cli.SUMMARIES)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: semc {command}" in capsys.readouterr().out
    assert main([command, "--no-such-flag"]) == 2
    assert "error[E1101]: unrecognized arguments: --no-such-flag" in capsys.readouterr().err or command != "passes"


@pytest.mark.parametrize("command", cli.PLANNED)
def test_planned_commands_say_that_they_are_not_built(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "x.sem"]) == 2
    assert f"`semc {command}`" in (shown := capsys.readouterr().err) and "not built yet" in shown


@pytest.mark.parametrize("engine", ["openai:http://localhost:1", "dynamo:x"])
def test_planned_engines_say_that_they_are_not_built(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "programs/chat.sem", "--engine", engine]) == 2
    assert "is not built yet" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--journal"])
def test_planned_flags_say_that_they_are_not_built(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "programs/chat.sem", flag, "x"]) == 2
    assert f"{flag} " in (shown := capsys.readouterr().err) and "not built yet" in shown


@pytest.mark.parametrize(("arguments", "message"), [
    (["chek"], "did you mean `semc check`?"),
    (["frobnicate"], "there is no command `frobnicate`"),
    (["run"], "required: FILE"),
    (["run", "x.sem", "-O3"], "invalid choice"),
    (["run", "x.sem", "-O", "high"], "invalid int value"),
    (["run", "x.sem", "--engine", "gpu"], "there is no engine `gpu`"),
    (["run", "x.sem", "--timeout", "-1"], "no number of seconds"),
    (["run", "x.sem", "--timeout", "soon"], "invalid seconds value"),
    (["run", "x.sem", "--seed", "x"], "invalid int value"),
    (["run", "nowhere.sem"], "cannot read `nowhere.sem`"),
    (["check", "\0"], "cannot read"),
    (["compile", "x.sem", "--emit", "machine-code"], "invalid choice"),
    (["opt", "x.sir", "--passes", "dce", "-O1"], "not allowed with"),
])
def test_wrong_command_lines(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("semc ")


def test_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "dispatch", interrupted)
    assert main(["run"]) == 130
    assert capsys.readouterr().err == "semc: interrupted\n"


def test_a_defect_is_one_line_and_says_how_to_see_more(monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: object) -> int:
        raise KeyError("lost")

    monkeypatch.delenv("SEMC_DEBUG", raising=False)
    monkeypatch.setattr(cli, "dispatch", broken)
    assert main(["run", "my file.sem"]) == 70
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "internal error: KeyError: 'lost'" in shown and "SEMC_DEBUG=1 semc run 'my file.sem'" in shown
    monkeypatch.setenv("SEMC_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["run", "my file.sem"])


def test_the_reader_of_the_output_may_go_away() -> None:
    command = f"{sys.executable} -P -m semlang passes --json | head -c 1; echo ${{PIPESTATUS[0]}}"
    for _ in range(3):  # whether the pipe breaks in time is a race; nothing else may ever be printed
        shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
        assert shown.stderr == ""
        assert shown.stdout in ("{0\n", "{141\n")


def test_a_closed_pipe_ends_quietly() -> None:
    process = subprocess.Popen([sys.executable, "-P", "-m", "semlang", "check", "-", "--json"], cwd=ROOT,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin and process.stdout and process.stderr
    process.stdout.close()
    process.stdin.write(b"program P() -> x: int { return y }")
    process.stdin.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_messages_have_colours_on_terminals_only(tmp_path: Path) -> None:
    bad = tmp_path / "bad.sem"
    bad.write_text("program P() -> x: int { return y }")
    assert "\x1b[" not in semc("check", str(bad)).stderr

    def on_terminal(*flags: str, **environment: str) -> str:
        command = f"import pty; pty.spawn({[sys.executable, '-P', '-m', 'semlang', 'check', str(bad), *flags]!r})"
        return subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, cwd=ROOT,
                              env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment}).stdout

    assert "\x1b[" in on_terminal()
    assert "\x1b[" not in on_terminal("--no-color")
    assert "\x1b[" not in on_terminal(NO_COLOR="1")
    assert "\x1b[" not in on_terminal(TERM="dumb")


@pytest.mark.parametrize("command", [
    ["check", "programs/extraction.sem"], ["fmt", "--check", "programs/extraction.sem"],
    ["compile", "--emit", "sem", "programs/extraction.sem"], ["--help"], ["run", "--help"], ["frobnicate"],
])
def test_what_needs_no_engine_imports_none(command: list[str]) -> None:
    program = f"""
import sys
from semlang.cli.main import main
main({command!r})
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", [["compile", "--engine", "reference", "programs/extraction.sem"], ["passes"],
                                     ["run", "--engine", "reference", "programs/chat.sem"]])
def test_what_needs_no_torch_imports_none(command: list[str]) -> None:
    program = f"""
import sys
from semlang.cli.main import main
main({command!r})
print([name for name in ("torch", "transformers", "rich") if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr.splitlines()[-1] == "[]"


def test_check_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.sem"
    bad.write_text("program P() -> x: int {\n  return y\n}\n")
    assert main(["check", "--json", str(bad)]) == 2
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["code"], found["severity"]) == ("E0201", "error")
    assert found["span"]["path"] == str(bad)


def test_ctrl_c_ends_a_run(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\n\n\ndef wait() -> int:\n    print('begun', flush=True)\n"
                                      "    time.sleep(60)\n    return 1\n")
    program = tmp_path / "slow.sem"
    program.write_text('host wait() -> int from "slow:wait" (pure)\nprogram P() -> x: int { return wait() }\n')
    process = subprocess.Popen([sys.executable, "-P", "-m", "semlang", "run", str(program), "--engine", "reference"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # may be ignored here
    assert process.stderr
    assert process.stderr.readline() == b"begun\n"  # hosts print to stderr: stdout holds results only
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.decode().splitlines()[-1] == "semc: interrupted"
