"""Benchmarks, one package a table; run one with ``python -m benchmarks.<name>``."""
