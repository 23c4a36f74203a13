"""Telemetry inside prompts: every line of it begins with a bar, so none can end its block or pass for anything else.

Lines are what ends a block, so every sign that ends one is a newline afterwards. What no reader can see is written
out, and spellings of control tokens are broken up, for engines that are given text and not tokens.
"""

from __future__ import annotations

import re
from unicodedata import category

from .snapshots import keep

BAR = "| "
"""How each line of telemetry begins in a prompt; no other line of a prompt begins so."""
LINE_CHARACTERS = 400
"""A longer line is cut."""

_LINE_ENDS = re.compile("\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_CONTROL_TOKENS = re.compile(
    "<(?=[|\uff5c])|(?<=[|\uff5c])>|<(?=/?(?:s|bos|eos|pad|unk|mask|think|tool_call|tool_response|tools|im_start|im_end|"
    r"(?:start|end)_of_(?:turn|text|image)|(?:begin|end)_of_\w{1,20}|system|user|assistant|human)>)"
    r"|<<(?=/?SYS>>)|\[(?=/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS|AVAILABLE_TOOLS|TOOL_RESULTS|gMASK|sMASK|CLS|SEP|MASK)\])",
    re.IGNORECASE)


def quoted(text: str, most: int) -> str:
    """`text` as a block of lines that begin with a bar, its ends if it has more than `most` characters.

    The whole of a text that is cut is a snapshot, whose key stands where the middle is missing.
    """
    return quoted_and_kept(text, most)[0]


def quoted_and_kept(text: str, most: int) -> tuple[str, str]:
    """As `quoted`, and the key of the snapshot, "" for a text that is not cut."""
    shown = "\n".join(cut_line(visible(line)) for line in _LINE_ENDS.split(text))
    key = ""
    if len(shown) > most:
        key = keep(text.encode("utf-8", "replace"))
        head = most * 3 // 4
        note = f"[cut: {len(text)} characters in all; the whole is snapshot {key}]"
        shown = f"{shown[:head]}\n{note}\n{shown[len(shown) - (most - head):]}"
    return "\n".join(BAR + line for line in shown.split("\n")), key


def quoted_line(text: str) -> str:
    """`text` in one line, for places in a prompt that hold one line."""
    return cut_line(visible(" ".join(_LINE_ENDS.sub(" ", text).split())))


def visible(line: str) -> str:
    """`line` with what nobody sees as `[U+200B]`, and with control tokens that no tokenizer takes for one."""
    shown = "".join(sign if not _hidden(sign) else f"[U+{ord(sign):04X}]" for sign in line)
    return _CONTROL_TOKENS.sub(lambda found: found[0].translate(_LOOKALIKE), shown)


_LOOKALIKE = str.maketrans({"<": "\u2039", ">": "\u203a", "[": "\u2045"})


def _hidden(sign: str) -> bool:
    return (not sign.isascii() and (category(sign) in ("Cf", "Cc", "Co", "Cn", "Cs") or sign in _BLANKS)) or (
        sign < " " and sign != "\t") or sign == "\x7f"


_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5") | {chr(n) for n in range(0xFE00, 0xFE10)} | {
    chr(n) for n in range(0xE0100, 0xE01F0)}
"""Letters and marks that leave no trace."""


def cut_line(line: str) -> str:
    """`line`, its ends if it is too long."""
    if len(line) <= LINE_CHARACTERS:
        return line
    head, tail = LINE_CHARACTERS * 3 // 4, LINE_CHARACTERS // 4
    return f"{line[:head]} [cut: {len(line)} characters] {line[-tail:]}"
