"""Attention over a context tree on GPUs, in Triton."""
