"""Kernels in C++ for CPUs: attention over a context tree, and linear layers on prepacked weights."""
