"""A step reads what contexts share once, in runs as long as the sharing."""

import numpy as np
from semlang.backend.context_tree import ContextTree, Mark
from semlang.backend.page_allocator import PageAllocator
from semlang.backend.step_plan import Work, build_batch


def resident(tree: ContextTree, parent: Mark, tokens: list[int]) -> Mark:
    """A fork of `parent` with these tokens, computed."""
    mark = tree.copy_mark(parent)
    tree.append(mark, np.array(tokens, dtype=np.int64))
    for node in tree.path(mark):
        tree.reserve(node, len(node.tokens) - node.resident)
        tree.commit(node)
    return mark


def again(tree: ContextTree, mark: Mark) -> Work:
    """Work that reads all of a context but its last token."""
    position = mark.position
    return Work(tree.path(mark), position - 1, position, np.array([1000]), wants_logits=True)


def test_shared_runs_stand_once_and_unshared_chains_are_joined() -> None:
    tree = ContextTree(PageAllocator(64, 4), 9, share=True)
    stem = resident(tree, tree.root_mark(), [1, 2, 3])
    left = resident(tree, stem, [4, 5])
    right = resident(tree, stem, [6, 7])
    deep = resident(tree, right, [8])
    resident(tree, right, [9])  # splits the branch, but takes no part in the step
    batch = build_batch([again(tree, left), again(tree, deep)])
    contexts = [[batch.runs[i] for i in segment.ancestors] for segment in batch.segments]
    assert contexts[0][0] is contexts[1][0], "what both read stands once"
    assert [(r.first_position, len(r.slots)) for r in contexts[0]] == [(0, 4), (4, 1)]
    assert [(r.first_position, len(r.slots)) for r in contexts[1]] == [(0, 4), (4, 2)], "one reader, one run"
    assert len(batch.runs) == 3
    assert [s.token_ids.tolist() for s in batch.segments] == [[5], [8]]


def test_a_node_is_cut_where_a_work_ends() -> None:
    tree = ContextTree(PageAllocator(64, 4), None, share=True)
    whole = resident(tree, tree.root_mark(), [1, 2, 3, 4, 5, 6])
    part = tree.root_mark()
    tree.append(part, np.array([1, 2, 3]))
    assert part.node is whole.node
    batch = build_batch([again(tree, part), again(tree, whole)])
    assert [(r.first_position, len(r.slots)) for r in batch.runs] == [(0, 2), (2, 3)]
    assert [s.ancestors for s in batch.segments] == [(0,), (0, 1)]


def test_new_tokens_may_span_nodes() -> None:
    tree = ContextTree(PageAllocator(64, 4), 9, share=True)
    a, b = tree.root_mark(), tree.root_mark()
    tree.append(a, np.array([1, 2, 3]))
    tree.append(b, np.array([1, 2, 4, 5]))
    work = Work(tree.path(b), 1, 4, np.arange(3), wants_logits=False)
    assert work.token_ids().tolist() == [1, 2, 4]
