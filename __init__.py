"""Semlang: an optimizing compiler and runtime for programs made of LLM calls."""
