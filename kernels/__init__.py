"""Attention over a tree of contexts."""
