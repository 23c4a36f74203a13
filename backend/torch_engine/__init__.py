"""The torch engine: any decoder that `transformers` builds, over a KV pool shared by a context tree."""
