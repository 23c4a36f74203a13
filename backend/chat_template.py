"""Chat templates: rendered with sentinels for contents and split at them, so that every content is a piece of its own.

The Jinja environment has what `transformers` gives to templates (sandbox, `raise_exception`, `tojson`,
`strftime_now`, `generation` blocks), except that the date is always 2024-01-01 and thinking is off.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from ..ir.target import TokenizerError

FIXED_DATE = datetime(2024, 1, 1)
ROLES = ("system", "user", "assistant")


class ChatTemplate:
    """One chat template; `bos_text` is what it may write in front although every context holds it already."""

    def __init__(self, source: str, special_tokens: dict[str, str], bos_text: str | None) -> None:
        self._render_messages = _compile(source)
        self._special_tokens = special_tokens
        self._bos_text = bos_text
        self._scaffolds: dict[tuple[str, ...], str | TokenizerError] = {}

    def scaffold(self, roles_so_far: tuple[str, ...], role: str) -> str:
        """See `ir.target.Tokenizer.role_scaffold`."""
        parts = (*roles_so_far, role)
        for name in parts:
            if name not in ROLES:
                raise TokenizerError(f"unknown role {name!r}: roles are system, user and assistant")
        for count in range(1, len(parts) + 1):  # shortest first: each is checked against the ones before it
            if parts[:count] not in self._scaffolds:
                self._scaffolds[parts[:count]] = self._try_derive(parts[:count])
        found = self._scaffolds[parts]
        if isinstance(found, TokenizerError):
            raise found
        return found

    def _try_derive(self, parts: tuple[str, ...]) -> str | TokenizerError:
        try:
            return self._derive(parts)
        except TokenizerError as error:
            return error

    def _derive(self, parts: tuple[str, ...]) -> str:
        if parts[-1] == "assistant":
            spans = self._spans(parts[:-1], generation=True)
            self._check_unchanged(parts[:-1], spans)
            return spans[-1]
        try:
            spans = self._spans(parts, generation=False)
        except TokenizerError:
            if parts[-1] != "system":
                raise
            # Some templates write a system part only together with the user part after it.
            spans = self._spans((*parts, "user"), generation=False)
        self._check_unchanged(parts, spans)
        return spans[len(parts) - 1]

    def _check_unchanged(self, parts: tuple[str, ...], spans: list[str]) -> None:
        """The text before earlier parts must be what it was when they were the last ones."""
        for i in range(len(parts)):
            known = self._scaffolds.get(parts[: i + 1])
            # An assistant part is rendered as the generated turn, whatever the template makes of it later.
            if parts[i] != "assistant" and isinstance(known, str) and known != spans[i]:
                raise TokenizerError(
                    f"the chat template rewrites the text before part {i + 1} ({parts[i]}) once more parts follow, "
                    "so a prompt cannot grow part by part; write the prompt without roles or use another template"
                )

    def _spans(self, parts: tuple[str, ...], *, generation: bool) -> list[str]:
        """Template text before each content, and after the last one."""
        # Mixed case, quotes and brackets: a template that changes any of them changes inserted values. No white space
        # at the ends: many templates trim contents, but ours never pass through the template, only its scaffold does.
        contents = [f"Content-{i}-{role} '\"<&>\"." for i, role in enumerate(parts)]
        messages = [{"role": role, "content": content} for role, content in zip(parts, contents, strict=True)]
        text = self._render(messages, generation)
        spans, position = [], 0
        for i, (role, content) in enumerate(zip(parts, contents, strict=True)):
            at = text.find(content, position)
            if at < 0 or text.count(content) != 1:
                raise TokenizerError(_content_problem(text, content, i, role))
            spans.append(text[position:at])
            position = at + len(content)
        spans.append(text[position:])
        if self._bos_text and spans[0].startswith(self._bos_text):
            spans[0] = spans[0][len(self._bos_text) :]
        return spans

    def _render(self, messages: list[dict[str, str]], generation: bool) -> str:
        from jinja2 import TemplateError

        variables: dict[str, object] = {
            **self._special_tokens,
            "messages": messages,
            "add_generation_prompt": generation,
            "enable_thinking": False,
            "tools": None,
            "documents": None,
        }
        roles = ", ".join(m["role"] for m in messages) or "none"
        try:
            return self._render_messages(variables)
        except (TemplateError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            message = f"the chat template rejects a prompt with these parts before the next one: {roles}: {error}"
            raise TokenizerError(message) from error


def _content_problem(text: str, content: str, index: int, role: str) -> str:
    where = f"the content of part {index + 1} ({role})"
    count = text.count(content)
    if count > 1:
        problem = f"the chat template writes {where} {count} times"
    elif count == 1:
        problem = f"the chat template reorders the parts: {where} stands before that of an earlier one"
    else:
        problem = f"the chat template loses or changes {where}"
    return problem + "; write the prompt without roles or use another template"


def _compile(source: str) -> Callable[[dict[str, object]], str]:
    """A function from template variables to text. Raises TokenizerError on a syntax error."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.nodes import Node
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class GenerationBlocks(Extension):
        """`{% generation %}` marks what training learns; its body is rendered as it is."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> list[Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def to_json(value: object, ensure_ascii: bool = False, indent: int | None = None,
                separators: tuple[str, str] | None = None, sort_keys: bool = False) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlocks, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = FIXED_DATE.strftime
    try:
        template = environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise TokenizerError(f"the chat template has a syntax error in line {error.lineno}: {error.message}") from error
    return lambda variables: template.render(variables)
