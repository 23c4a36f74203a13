"""`tokenize`: constants into token ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..ir.core import Module, Op, TokenList, Word, walk
from ..ir.definition import Level
from ..ir.diagnostics import InputError
from ..ir.target import Target, Tokenizer, TokenizerError
from .base import Pass, Report
from .prompt_facts import PromptFact, PromptFacts


@dataclass(frozen=True)
class Tokenize(Pass):
    """Constant pieces and role scaffolds become token ids under the tokenizer of the prompt's model.

    A piece is encoded by itself, special tokens disabled, exactly as the run would encode it, and stays a piece of
    its own; `{space = true}` before a constant is one more character of it. The tokenizer is asked for a prompt's
    first piece only where no piece came before it; where that is not known before the run (a prompt that was carried
    through a loop, say) and the tokenizer treats first pieces differently, the piece stays text and the run encodes
    it by the same rule. The scaffold of a role depends on the roles before it: where these are known it becomes a
    constant, else `prompt.role` stays. As long as one stays, appends of constant scaffolds say their role, because
    the run has to know it.

    ```before
    sem.program(@Main) |%a: text| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, "Say ") : prompt
      %2 = prompt.append(%1, %a) : prompt
      %y, %3 = prompt.generate(%2) {output = "y"} : text, prompt
      sem.return(%y) {names = ["y"]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, tokens<4 : "Say " : [83, 97, 121, 32]>) : prompt
      %2 = prompt.append(%1, %a) : prompt
      %y, %3 = prompt.generate(%2) {output = "y"} : text, prompt
      sem.return(%y) {names = ["y"]}
    }
    ```
    """

    name: ClassVar[str] = "tokenize"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.PROMPT})

    def run(self, module: Module, target: Target) -> Report:
        """Raises InputError when a model has no tokenizer, or cannot keep a prompt's roles apart."""
        work = _Tokenizing(target)
        facts = PromptFacts(module.ops)
        for op in walk(module.ops):
            if op.name == "prompt.append":
                work.append(op, facts)
            elif op.name == "prompt.role":
                work.role(op, facts)
        if not work.late_roles:
            for op in work.scaffolds:
                del op.attributes["role"]
        late = work.late_pieces + work.late_roles
        return Report(
            f"{work.pieces} constants became {work.tokens} tokens" + (f", {late} are left to the run" if late else ""),
            {"pieces": work.pieces, "tokens": work.tokens})


@dataclass
class _Tokenizing:
    target: Target
    pieces: int = 0
    tokens: int = 0
    late_pieces: int = 0
    late_roles: int = 0
    scaffolds: list[Op] = field(default_factory=list)
    cache: dict[tuple[str, str, bool], TokenList] = field(default_factory=dict)

    def append(self, op: Op, facts: PromptFacts) -> None:
        """Encode a constant append, where it is known how."""
        text = op.args[1]
        if not isinstance(text, str):
            return
        fact = facts[op.operands[0]]
        tokenizer = self._tokenizer(fact, op)
        if tokenizer is None or (fact.is_start is None and tokenizer.has_dummy_prefix):
            self.late_pieces += 1
            return
        if op.attributes.pop("space", False):
            text = " " + text
        op.args[1] = self._encode(tokenizer, text, bool(fact.is_start))
        self._count(op.args[1])

    def _encode(self, tokenizer: Tokenizer, text: str, first: bool) -> TokenList:
        key = (tokenizer.digest, text, first)
        found = self.cache.get(key)
        if found is None:
            found = self.cache[key] = TokenList(tuple(tokenizer.encode_piece(text, first=first)), text)
        return found

    def role(self, op: Op, facts: PromptFacts) -> None:
        """Turn a role whose predecessors are known into an append of its scaffold."""
        fact = facts[op.operands[0]]
        tokenizer = self._tokenizer(fact, op)
        role = op.attributes["role"]
        assert isinstance(role, Word)
        if tokenizer is None or fact.roles is None:
            self.late_roles += 1
            return
        try:
            text = tokenizer.role_scaffold(fact.roles, role.name)
        except TokenizerError as error:
            raise InputError.of("E0940", f"{op.location}: {error}") from error
        op.name = "prompt.append"
        op.args.append(TokenList(tuple(tokenizer.encode_scaffold(text)), text, scaffold=True))
        self.scaffolds.append(op)
        self._count(op.args[1])

    def _count(self, tokens: object) -> None:
        assert isinstance(tokens, TokenList)
        self.pieces += 1
        self.tokens += len(tokens.ids)

    def _tokenizer(self, fact: PromptFact, op: Op) -> Tokenizer | None:
        """The tokenizer of the prompt's model; None where the model is not known and there are several tokenizers."""
        aliases = [fact.model] if fact.model is not None else ["", *self.target.models]
        tokenizers = [self.target.model(alias).tokenizer for alias in aliases]
        if None in tokenizers:
            named = f"the model `{fact.model}`" if fact.model else "the default model"
            raise InputError.of("E0941", f"{op.location}: {named} has no tokenizer, so the prompt has no tokens",
                                fix="give a model (`--model DIR`), or stop before this stage (`--emit prompt`)")
        first = tokenizers[0]
        assert first is not None
        return first if all(t is not None and t.digest == first.digest for t in tokenizers) else None
