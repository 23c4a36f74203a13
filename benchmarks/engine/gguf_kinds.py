"""Kinds of GGUF files that the benchmark knows; `gguf_file` writes them."""

GGUF_KINDS = ("float32", "bfloat16", "q8_0")
