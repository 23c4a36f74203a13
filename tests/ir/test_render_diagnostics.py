"""Diagnostics as text and JSON."""

import json
import re

from semlang.ir.diagnostics import Diagnostic, Diagnostics, Label
from semlang.ir.render_diagnostics import render, render_all, summary, to_json
from semlang.ir.source import SourceFile, Span


def span(text: str, marked: str, path: str = "x.sem") -> Span:
    source = SourceFile(path, text)
    start = text.index(marked)
    return Span(source, start, start + len(marked))


def lines(diagnostic: Diagnostic) -> list[str]:
    return render(diagnostic).split("\n")


def test_everything_at_once() -> None:
    source = SourceFile("a/b.sem", "\n" * 8 + "let a = f(x)\nlet b = 2\nlet c = a + b\n")
    first, second = source.text.index("f(x)"), source.text.index("a + b")
    other = SourceFile("c.sem", "enum E { }")
    diagnostic = Diagnostic(
        "E0123", "it is wrong", Label(Span(source, second, second + 5), "this"),
        (Label(Span(source, first, first + 4), "made here"), Label(Span(other, 5, 6), "declared here")),
        ("one thing", "two\nlines"), "do that")
    assert render(diagnostic) == """\
error[E0123]: it is wrong
  --> a/b.sem:11:9
   |
 9 | let a = f(x)
   |         ---- made here
10 | let b = 2
11 | let c = a + b
   |         ^^^^^ this
  ::: c.sem:1:6
   |
 1 | enum E { }
   |      - declared here
   |
   = note: one thing
   = note: two
           lines
   = help: do that"""


def test_without_a_place() -> None:
    assert render(Diagnostic("W0001", "hm", severity="warning", fix="x")) == "warning[W0001]: hm\n  = help: x"


def test_columns_under_tabs_and_wide_characters() -> None:
    assert lines(Diagnostic("E1", "m", Label(span("\tab\tcd", "cd"))))[3:] == ["1 |     ab  cd", "  |         ^^"]
    assert lines(Diagnostic("E1", "m", Label(span("\tab", "\tab"))))[3:] == ["1 |     ab", "  | ^^^^^^"]
    assert lines(Diagnostic("E1", "m", Label(span("日本語 = x", "x"))))[3:] == ["1 | 日本語 = x", "  |          ^"]
    assert lines(Diagnostic("E1", "m", Label(span("日本語 = x", "本"))))[4] == "  |   ^^"
    assert lines(Diagnostic("E1", "m", Label(span("e\u0301 = x", "x"))))[4] == "  |     ^"


def test_control_characters_are_made_visible() -> None:
    shown = lines(Diagnostic("E1", "m", Label(span("a\0b\x1b[31m\u202ex", "x"))))
    assert shown[3:] == ["1 | a␀b␛[31m�x", "  |          ^"]


def test_spans_over_several_lines() -> None:
    text = "let a = [\n  1,\n  2,\n]\nrest"
    assert lines(Diagnostic("E1", "m", Label(span(text, "[\n  1,\n  2,\n]"), "all of it")))[3:] == [
        "1 | let a = [", "  |         ^", "2 |   1,", "  |   ^^", "3 |   2,", "  |   ^^", "4 | ]", "  | ^ all of it"]
    long = "(" + "\n x" * 20 + "\n)"
    assert lines(Diagnostic("E1", "m", Label(span(long, long), "long")))[3:] == [
        " 1 | (", "   | ^", "...", "22 | )", "   | ^ long"]


def test_spans_at_the_end_of_line_and_file() -> None:
    source = SourceFile("x.sem", "let a =\nb")
    assert lines(Diagnostic("E1", "m", Label(Span(source, 7, 8), "here")))[3:] == ["1 | let a =", "  |        ^ here"]
    assert lines(Diagnostic("E1", "m", Label(Span(source, 9, 9))))[3:] == ["2 | b", "  |  ^"]
    assert lines(Diagnostic("E1", "m", Label(Span(SourceFile("x.sem", ""), 0, 0))))[1:] == [
        " --> x.sem:1:1", "  |", "1 |", "  | ^"]


def test_several_marks_on_a_line() -> None:
    text = "f(a, b)"
    diagnostic = Diagnostic("E1", "m", Label(span(text, "b"), "second"), (Label(span(text, "a"), "first"),
                                                                          Label(span(text, "f(a, b)"), "call")))
    source = diagnostic.primary.span.source if diagnostic.primary else SourceFile("", "")
    labels = tuple(Label(Span(source, label.span.start, label.span.end), label.text) for label in diagnostic.labels)
    shown = lines(Diagnostic("E1", "m", diagnostic.primary, labels))
    assert shown[3:] == ["1 | f(a, b)", "  | ------- call", "  |   - first", "  |      ^ second"]


def test_long_lines_are_cut_around_the_marks() -> None:
    text = "a" * 5000 + "MARK" + "b" * 5000
    shown = lines(Diagnostic("E1", "m", Label(span(text, "MARK"), "here")))
    assert all(len(line) < 200 for line in shown)
    column = shown[4].index("^")
    assert shown[3][column:column + 4] == "MARK" and shown[4].endswith("^^^^ here")


def test_color_only_adds_escapes() -> None:
    diagnostic = Diagnostic("E1", "m", Label(span("let a", "a"), "x"), (), ("n",), "f")
    colored = render(diagnostic, color=True)
    assert "\033[1;31m" in colored and re.sub("\033\\[[0-9;]*m", "", colored) == render(diagnostic)


def test_all_and_summary() -> None:
    diagnostics = Diagnostics()
    assert render_all(diagnostics) == "" and summary(diagnostics) == "no errors"
    diagnostics.error("E1", "one", None)
    diagnostics.warning("W1", "two", None)
    diagnostics.error("E2", "three", None)
    assert render_all(diagnostics).split("\n\n") == [
        "error[E1]: one", "warning[W1]: two", "error[E2]: three", "2 errors and 1 warning\n"]


def test_json() -> None:
    data = to_json(Diagnostic("E1", "m", Label(span("a\nbc", "bc"), "l"), notes=("n",), fix="f"))
    assert json.loads(json.dumps(data)) == {
        "severity": "error", "code": "E1", "message": "m", "label": "l", "labels": [], "notes": ["n"], "help": "f",
        "span": {"path": "x.sem", "line": 2, "column": 1, "end_line": 2, "end_column": 3, "start": 2, "end": 4}}
    assert to_json(Diagnostic("E1", "m"))["span"] is None
