"""Secrets and identifying values become stable placeholders, before any model sees a text, and come back afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Self

from .encodings import HIDDEN, encoded_runs, spelled_otherwise

SECRET_KINDS = frozenset({"private-key", "aws-key", "token", "jwt", "password", "secret"})
"""Kinds that stay masked in answers, unless they are asked for."""

_SECRET_NAME = (r"(?:[\w.-]{0,40}(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|apikey|access[_-]?key"
                r"|private[_-]?key|credential|auth[_-]?key|connection[_-]?string|account[_-]?key))")

TELLING_LENGTH = 8
"""A secret of so many characters is also masked where nothing says that it is one."""

PATTERNS: list[tuple[str, re.Pattern[str]]] = [
    ("private-key", re.compile(
        r"-----BEGIN (?P<what>[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----.*?"
        r"(?:-----END (?P=what)-----|(?=-----BEGIN )|\Z)", re.DOTALL)),
    ("private-key", re.compile(
        r"(?<![A-Za-z0-9+/=\s])[A-Za-z0-9+/=\s]{16,}-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")),
    ("jwt", re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?")),
    ("aws-key", re.compile(r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA)[A-Z0-9]{16}\b")),
    ("token", re.compile(
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}"
        r"|sk-(?:[a-z]+-)*[A-Za-z0-9_-]{16,}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}|AIza[\w-]{30,}"
        r"|npm_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{20,}|dop_v1_[a-f0-9]{40,}|hvs\.[\w-]{20,}|SG\.[\w-]{16,}\.[\w-]{16,}"
        r"|dckr_pat_[\w-]{20,}|ya29\.[\w-]{20,})")),
    ("token", re.compile(r"(?i)\b(?:bearer|basic|token)\s+(?P<value>[\w.~+/-]{12,}=*)")),
    ("password", re.compile(
        r"(?i)\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@'\"<>]{0,128}:(?!\d{1,5}[/?])(?P<value>[^\s'\"<>]{1,512})@(?=[\w.\[-])")),
    ("secret", re.compile(
        rf"(?i)\b{_SECRET_NAME}[\"']?\s*(?:=>|:=|[:=])\s*(?P<quote>[\"'])(?P<value>(?:\\.|(?!(?P=quote)).){{1,4096}})"
        rf"(?P=quote)", re.DOTALL)),
    ("secret", re.compile(
        rf"(?i)\b{_SECRET_NAME}[\"']?\s*(?:=>|:=|[:=])\s*(?![\"'])(?!(?:bearer|basic|null|none|true|false)\b)"
        r"(?P<value>[^\s\"',;&<>{}\[\]]{3,})")),
    ("secret", re.compile(rf"(?i)--{_SECRET_NAME}\s+(?P<value>[^\s\"'-][^\s\"']{{2,}})")),
    ("email", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+(?<![.-])")),
    ("guid", re.compile(
        r"(?i)(?<![0-9a-f-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-f-])")),
    ("ip", re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")),
    ("ip", re.compile(r"(?i)(?<![\w:.])(?=[0-9a-f:]*:[0-9a-f:]*:)[0-9a-f:]{2,39}(?![\w:])")),
]
"""What is masked, in this order. A group `value` is the part that is replaced."""

PLACEHOLDER = re.compile(r"<(private-key|aws-key|token|jwt|password|secret|email|guid|ip|literal)-(\d+)>")


@dataclass
class Masks:
    """The placeholders of one investigation: the same value has the same one in every text."""

    values: dict[str, str] = field(default_factory=dict)
    """What each placeholder stands for."""
    _known: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _needles: set[str] = field(default_factory=set)
    """Spellings of secrets that are known."""
    _lengths: dict[str, set[int]] = field(default_factory=dict)
    """How long needles are that begin with the same `TELLING_LENGTH` signs."""

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Self:
        """Masks that go on where `values`, what placeholders stand for, leave off."""
        counts: dict[str, int] = {}
        for placeholder in values:
            found = PLACEHOLDER.fullmatch(placeholder)
            if found is None:
                raise ValueError(f"{placeholder!r} is no placeholder")
            counts[found[1]] = max(counts.get(found[1], 0), int(found[2]))
        masks = cls(dict(values), {value: placeholder for placeholder, value in values.items()}, counts)
        for placeholder, value in values.items():
            if kind_of(placeholder) in SECRET_KINDS and len(value) >= TELLING_LENGTH:
                masks._remember(value)
        return masks

    def placeholder(self, kind: str, value: str) -> str:
        """`<kind-n>`, numbered in order of first appearance."""
        known = self._known.get(value)
        if known is None:
            self._counts[kind] = number = self._counts.get(kind, 0) + 1
            known = self._known[value] = f"<{kind}-{number}>"
            self.values[known] = value
            if kind in SECRET_KINDS and len(value) >= TELLING_LENGTH:
                self._remember(value)
        return known

    def mask(self, text: str) -> str:
        """`text` with placeholders. What looks like a placeholder already becomes one itself, so that it comes back."""
        text = PLACEHOLDER.sub(lambda m: self.placeholder("literal", m[0]), text)
        text = self._mask_interrupted(text)
        text = self._mask_known(text)
        text = self._mask_encoded(text)
        for kind, pattern in PATTERNS:
            text = pattern.sub(self._replacement(kind), text)
        return text

    def _mask_known(self, text: str) -> str:
        """Secrets that are known already, as they are and in other spellings; the longest at each place."""
        parts, begin = [], 0
        for at, end in self._known_in(text):
            parts += [text[begin:at], self.placeholder("secret", text[at:end])]
            begin = end
        return "".join([*parts, text[begin:]])

    def _known_in(self, text: str) -> list[tuple[int, int]]:
        """Where known secrets stand, from left to right."""
        found, at = [], 0
        while self._needles and at <= len(text) - TELLING_LENGTH:
            lengths = self._lengths.get(text[at:at + TELLING_LENGTH], ())
            length = max((n for n in lengths if text[at:at + n] in self._needles), default=0)
            if length:
                found.append((at, at + length))
            at += max(length, 1)
        return found

    def _remember(self, value: str) -> None:
        """Look for a secret in all texts from now on."""
        for spelling in (value, *spelled_otherwise(value)):
            self._needles.add(spelling)
            self._lengths.setdefault(spelling[:TELLING_LENGTH], set()).add(len(spelling))

    def _mask_interrupted(self, text: str) -> str:
        """Secrets into which signs that nobody sees were put, `pass\u200bword=…` and the like."""
        plain = HIDDEN.sub("", text)
        if len(plain) == len(text):
            return text
        known = [plain[at:end] for at, end in self._known_in(plain)]
        for value in dict.fromkeys([*secrets_in(plain), *known]):
            tolerant = f"(?:{HIDDEN.pattern})*".join(map(re.escape, value))
            text = re.sub(tolerant, lambda found: self.placeholder("secret", found[0]), text)
        return text

    def _mask_encoded(self, text: str) -> str:
        """Runs of signs that hold a secret once they are decoded."""
        for run, decoded in encoded_runs(text):
            if secrets_in(decoded) or self._known_in(decoded):
                text = text.replace(run, self.placeholder("secret", run))
        return text

    def names(self, *, secrets: bool = False) -> dict[str, str]:
        """What the placeholders stand for; those of secrets only on demand."""
        return {p: value for p, value in self.values.items() if secrets or kind_of(p) not in SECRET_KINDS}

    def _replacement(self, kind: str) -> Callable[[re.Match[str]], str]:
        def replace(match: re.Match[str]) -> str:
            value = match["value"] if "value" in match.re.groupindex else match[0]
            if PLACEHOLDER.fullmatch(value) or (kind == "ip" and not _is_address(value)):
                return match[0]
            start, end = (match.span("value") if "value" in match.re.groupindex else match.span())
            before, after = match.string[match.start():start], match.string[end:match.end()]
            return before + self.placeholder(kind, value) + after
        return replace


def secrets_in(text: str) -> list[str]:
    """The values in `text` that are secrets, the longest first."""
    found = {match["value"] if "value" in pattern.groupindex else match[0]
             for kind, pattern in PATTERNS if kind in SECRET_KINDS for match in pattern.finditer(text)}
    return sorted((value for value in found if not PLACEHOLDER.fullmatch(value)), key=lambda v: (-len(v), v))


def kind_of(placeholder: str) -> str:
    """The kind of `<kind-n>`."""
    found = PLACEHOLDER.fullmatch(placeholder)
    return found[1] if found else ""


def mask_texts(texts: Iterable[str], known: Mapping[str, str] | None = None) -> tuple[list[str], dict[str, str]]:
    """All texts with placeholders, and what each one stands for, secrets too.

    A secret that one text gives away is masked in all of them. `known`: what an earlier call gave, which stays so.
    """
    masks, texts = Masks.of(known or {}), list(texts)
    for text in texts:
        masks.mask(text)
    return [masks.mask(text) for text in texts], masks.values


def unmask(text: str, names: Mapping[str, str]) -> str:
    """`text` with every placeholder of `names` as what it stands for; others stay."""
    def show(match: re.Match[str]) -> str:
        value = names.get(match[0], match[0])
        # A masked value may hold placeholders of what was masked before it, a literal is itself.
        return value if match[1] == "literal" or value == match[0] else PLACEHOLDER.sub(show, value)
    return PLACEHOLDER.sub(show, text)


def _is_address(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback)
