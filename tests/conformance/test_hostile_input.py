"""Files and streams that nobody should feed to a compiler: always a diagnostic and an exit code, never a traceback."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from semlang.cli.main import main

OK = b"program Main() -> x: int { return 1 }\n"


def in_body(expression: bytes, type: bytes = b"int", parameters: bytes = b"o: int = 1") -> bytes:
    return b"program Main(" + parameters + b") -> x: " + type + b" { return " + expression + b" }\n"


PROMPT = b'semantic F(x: text) -> y: text { """%s{{x}} {{y}}""" }\n' + OK
LETS = b"".join(b"let a%d = %s + 1\n" % (i, b"a%d" % (i - 1) if i else b"0") for i in range(2000))
ARMS = b"".join(b"%d => %d, " % (i, i) for i in range(500))
MEGABYTE = b"a" * 1_000_000
FINE = {
    "byte order mark": b"\xef\xbb\xbf" + OK,
    "CRLF": OK.replace(b" {", b" {\r\n").replace(b" }", b"\r\n}\r\n"),
    "CR": b"program Main() -> x: int {\rreturn 1\r}\r",
    "mixed line ends": b"program Main() -> x: int {\r\nreturn 1\n}\r\n",
    "no last line end": OK.strip(),
    "NUL in a comment": b"# a\0b\n" + OK,
    "NUL in a text": in_body(b'len("a\0b")'),
    "line separator in a text": in_body('len("a\u2028b")'.encode()),
    "right-to-left mark": in_body('len("a\u202eb")'.encode()),
    "a line of a megabyte": in_body(b'len("' + MEGABYTE + b'")'),
    "a comment of a megabyte": b"#" + MEGABYTE + b"\n" + OK,
    "a name of 100 kB": b"program Main() -> x: int { let %s = 1\nreturn %s }\n" % ((b"a" * 100_000,) * 2),
    "a float of 100,000 digits": in_body(b'len("${1.' + b"9" * 100_000 + b'}")'),
    "2,000 statements": b"program Main() -> x: int {\n" + LETS + b"return a1999 }\n",
    "500 arms": in_body(b"match o { " + ARMS + b"_ => 0 }"),
    "a prompt of a megabyte that nobody calls": PROMPT % (b"a " * 500_000),
}
WRONG = {
    "nothing": b"", "white space": b"\n \t\n", "a comment": b"# only",
    "UTF-16": OK.decode().encode("utf-16"),
    "Latin-1": b"# caf\xe9\n" + OK,
    "a surrogate": b"# \xed\xa0\x80\n" + OK,
    "NUL in a name": b"program Ma\0in() -> x: int { return 1 }\n",
    "vertical tab": b"program Main() -> x: int {\x0breturn 1 }\n",
    "no-break space": "program Main() -> x: int {\u00a0return 1 }\n".encode(),
    "another form of a letter": "program Main() -> x: int { let \u00e9 = 1\nreturn e\u0301 }\n".encode(),
    "smile": "\U0001f600".encode(),
    "5,000 parentheses": in_body(b"(" * 5000 + b"1" + b")" * 5000),
    "5,000 lists": in_body(b"len(" + b"[" * 5000 + b"1" + b"]" * 5000 + b")"),
    "5,000 branches": in_body(b"if true { " * 5000 + b"1" + b" } else { 2 }" * 5000),
    "5,000 minus signs": in_body(b"-" * 5000 + b"1"),
    "5,000 negations": in_body(b"not " * 5000 + b"true", b"bool"),
    "5,000 terms": in_body(b"1 + " * 5000 + b"1"),
    "5,000 fields": in_body(b"o" + b".a" * 5000),
    "5,000 calls": in_body(b"o" + b"()" * 5000),
    "5,000 indices": in_body(b"o" + b"[0]" * 5000),
    "5,000 list types": in_body(b"1", parameters=b"o: " + b"list[" * 5000 + b"int" + b"]" * 5000),
    "2,000 texts in texts": in_body(b'"${' * 2000 + b"1" + b'}"' * 2000, b"text"),
    "an int of 100,000 digits": in_body(b"9" * 100_000),
    "3,000 tags in tags": PROMPT % (b"{{if true}}" * 3000 + b"a" + b"{{end}}" * 3000),
    "20,000 braces": b"{" * 20_000,
    "1,001 prompt quotes": b'"""' * 1001,
    "a text that never ends": in_body(b'"\\"'),
    "an error behind a megabyte": in_body(b'"' + MEGABYTE + b'" + 1'),
    "1,000 errors": b"program Main() -> x: int {\n" + b"nope\n" * 1000 + b"}",
    "noise": random.Random(1).randbytes(5000),
    "printable noise": bytes(random.Random(2).choices(b"{}[]()\"#$\\ \nabc123.,:=@?+-*/%<>", k=5000)),
}


@pytest.mark.parametrize("name", FINE)
def test_odd_files_that_are_fine(semc: Any, name: str) -> None:
    Path("main.sem").write_bytes(FINE[name])
    semc("run", "main.sem", "--engine", "reference")


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("command", ["run", "check", "compile", "fmt", "test"])
def test_odd_files_that_are_wrong(semc: Any, name: str, command: str) -> None:
    Path("main.sem").write_bytes(WRONG[name])
    code = main([command, "main.sem"])
    captured = semc.capsys.readouterr()
    programs_missing = name in ("nothing", "white space", "a comment") and command in ("check", "fmt", "test")
    fine = programs_missing or (command == "fmt" and "error[" not in captured.err)
    assert code == (0 if fine else 2), captured.err[:500]
    assert "Traceback" not in captured.err and "internal error" not in captured.err
    assert len(max(captured.err.splitlines(), default="", key=len)) < 2000 or "1,000" in name, "long lines are cut"


@pytest.mark.parametrize("name", ["noise", "5,000 parentheses", "a surrogate", "nothing"])
def test_odd_files_of_other_kinds(sem: Any, semc: Any, name: str) -> None:
    sem.write("program Main(x: text) -> y: text { return x }")
    Path("odd").write_bytes(WRONG[name])
    reference = ("run", "main.sem", "--engine", "reference")
    semc(*reference, "--args", "odd", code=2)
    semc(*reference, "--arg", "x=@odd", code=2 if name in ("noise", "a surrogate") else 0)
    semc("opt", "odd", code=0 if name == "nothing" else 2)
    Path("semc.toml").write_bytes(WRONG[name])
    semc(*reference, "--arg", "x=a", code=0 if name == "nothing" else 2)
    assert "Traceback" not in semc.err


def semc_process(*arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
    """`semc` in a process of its own."""
    command = [sys.executable, "-m", "semlang", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **{"stdout": subprocess.PIPE, **options})


def test_interrupted_while_a_host_sleeps(sem: Any) -> None:
    sem.write("""
import time

def sleep(n):
    open("started", "w").close()
    time.sleep(60)
    return n
""", "sleepy.py")
    sem.write('host sleep(n: int) -> int from "sleepy:sleep"\n'
              "program Main() -> (x: int, y: int) { return sleep(3), 1 }")
    process = semc_process("run", "main.sem", "--engine", "reference",
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # may be ignored here
    while not (sem.folder / "started").exists():
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, b"", b"semc: interrupted\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_output_that_is_full(sem: Any) -> None:
    sem.write("program Main() -> x: int { return 1 }")
    with open("/dev/full", "w") as full:
        process = semc_process("run", "main.sem", "--engine", "reference", stdout=full)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 2 and b"error[E1104]: cannot write the output: No space left on device" in err


def test_a_reader_that_goes_away(sem: Any) -> None:
    sem.write('program Main() -> x: text { return "' + "long " * 100_000 + '" }')
    process = semc_process("run", "main.sem", "--engine", "reference")
    assert process.stdout is not None and process.stdout.read(4) == b"long"
    process.stdout.close()
    process.wait(timeout=20)
    assert process.stderr is not None and b"Traceback" not in process.stderr.read()
    process.stderr.close()
    assert process.returncode in (0, 141)
