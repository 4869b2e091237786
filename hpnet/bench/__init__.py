"""Benchmarks: this package compared with plain implementations, in one run."""
