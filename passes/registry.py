"""Every pass by its name on the command line. A pass is imported when it is first asked for."""

from __future__ import annotations

import difflib
from importlib import import_module

from ..ir.diagnostics import InputError
from ..ir.source import Span
from .base import Pass

PASSES = {
    "inline": "inline:Inline",
    "fold": "fold:Fold",
    "cse": "cse:Cse",
    "dce": "dce:Dce",
    "licm": "licm:Licm",
    "prune-barriers": "prune_barriers:PruneBarriers",
    "bound-lengths": "bound_lengths:BoundLengths",
    "tokenize": "tokenize:Tokenize",
    "hoist-prefixes": "hoist_prefixes:HoistPrefixes",
    "order-fields": "order_fields:OrderFields",
    "lower-engine": "lower_engine:LowerEngine",
    "plan-prefill": "plan_prefill:PlanPrefill",
    "propagate-objectives": "propagate_objectives:PropagateObjectives",
    "fuse-task-groups": "fuse_task_groups:FuseTaskGroups",
    "size-batches": "size_batches:SizeBatches",
    "place": "place:Place",
    "free-contexts": "free_contexts:FreeContexts",
}
"""Module and class of each pass."""


def pass_class(name: str, span: Span | None = None) -> type[Pass]:
    """The class of the pass `name`; InputError at `span` when there is none."""
    if name not in PASSES:
        near = difflib.get_close_matches(name, PASSES, 1)
        raise InputError.of("E0920", f"there is no pass `{name}`", span, fix=(
            f"did you mean `{near[0]}`?" if near else "the passes are " + ", ".join(PASSES)))
    module_name, class_name = PASSES[name].split(":")
    found = getattr(import_module(f".{module_name}", __package__), class_name)
    assert isinstance(found, type) and issubclass(found, Pass) and found.name == name, f"{name} is registered wrongly"
    return found
