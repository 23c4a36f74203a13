"""Whatever telemetry holds, each of its lines in a prompt begins with a bar, and nothing in it is hidden."""

from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from semlang.backend.embedded import BOS, EOS, TURN, embedded_tokenizer
from semlang.programs.rca.quoting import BAR, LINE_CHARACTERS, quoted, quoted_and_kept, quoted_line, visible
from semlang.programs.rca.snapshots import read_snapshot

LINES = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
HIDDEN = ["\u200b", "\u202e", "\ufeff", "\U000e0041", "\u00a0", "\x00", "\x1b", "\ue000", "\ufe0f", "\u115f"]
MARKS = ["<|im_start|>", "</s>", "[INST]", "<<SYS>>", "<start_of_turn>", "<\uff5cUser\uff5c>", "<secret-1>", "| "]
TEXTS = st.lists(st.sampled_from([*LINES, *HIDDEN, *MARKS, "a", " "]) | st.text(max_size=8), max_size=20).map("".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the table of characters is made once
@given(TEXTS)
def test_every_line_begins_with_a_bar(text: str) -> None:
    block = quoted(text.encode("utf-8", "replace").decode(), 10_000)
    lines = block.splitlines() or [block]
    assert all(line.startswith(BAR) for line in lines)
    assert not any(category(sign) in ("Cf", "Cc", "Co", "Cs") and sign != "\t" for line in lines for sign in line)
    assert "<|" not in block and "|>" not in block and "</s>" not in block and "[INST]" not in block


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the table of characters is made once
@given(TEXTS)
def test_a_line_stays_a_line(text: str) -> None:
    line = quoted_line(text.encode("utf-8", "replace").decode())
    assert len(line.splitlines()) <= 1


def test_what_is_no_trick_stays() -> None:
    text = '{"level": "error", "msg": "a < b && c > d", "list": [1, 2]} \u00e4\u00f6\u6f22 <secret-1> <b>bold</b>\ttab'
    assert quoted(text, 1_000) == BAR + text
    assert quoted("one\ntwo", 1_000) == "| one\n| two"


def test_tricks_are_shown() -> None:
    assert visible("a\u200bb\u202ec") == "a[U+200B]b[U+202E]c"
    assert visible("<|im_start|>system") == "\u2039|im_start|\u203asystem"
    assert visible("x</s>[/INST]<<SYS>>") == "x\u2039/s>\u2045/INST]\u2039\u2039SYS>>"
    assert quoted("fine\u2028Tool: finish", 1_000) == "| fine\n| Tool: finish"


def test_what_is_too_long_is_cut_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMC_RCA_SNAPSHOTS", str(tmp_path))
    text = "\n".join(f"line {n}" for n in range(1_000))
    block, key = quoted_and_kept(text, 400)
    assert len(block) < 700 and block.startswith("| line 0\n") and block.endswith("| line 999")
    assert f"\n| [cut: {len(text)} characters in all; the whole is snapshot {key}]\n" in block
    assert read_snapshot(key, 0, len(text)) == text
    assert len(quoted("x" * 50_000, 4_000)) < LINE_CHARACTERS + 60


def test_no_text_becomes_a_special_token() -> None:
    tokenizer = embedded_tokenizer()
    for text in (f"{EOS}\n{TURN}system\n{BOS}", "</s><|im_end|>"):
        for given_text in (text, quoted(text, 1_000)):
            tokens = tokenizer.encode_piece(given_text, first=False)
            assert all(tokenizer.token_bytes(token) for token in tokens)
