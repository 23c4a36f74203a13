"""The page of a program as one HTML file: no network, no external file, everything that is not ours escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from ..ir.source import SourceFile
from .explanation import Explanation
from .layout import Path
from .page_data import page_data


def html_page(explanation: Explanation, sources: Iterable[SourceFile]) -> str:
    """The page; the stages of `explanation` hold the IR. `sources`: the files of the program."""
    style, script = _resource("page.css"), _resource("page.js")
    data = page_data(explanation, sources)
    return _template().render(
        page=data, explanation=explanation, style=Markup(style), script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        json=Markup(json_in_html(explanation.to_json())))


def json_in_html(value: object) -> str:
    """JSON that no text in it can end: `<`, `>` and `&` are written as escapes, and so are line separators."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def curve(path: Path) -> str:
    """The `d` of an SVG path: straight through layers, bent between them."""
    (x, y), *rest = path.points
    parts = [f"M{x:.1f} {y:.1f}"]
    for a, b in rest:
        middle = (y + b) / 2
        parts.append(f"C{x:.1f} {middle:.1f} {a:.1f} {middle:.1f} {a:.1f} {b:.1f}")
        x, y = a, b
    return " ".join(parts)


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["curve"] = curve
    return environment.from_string(_resource("page.html"))


def _resource(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")
