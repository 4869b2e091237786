"""Benchmarks: what this package does against the plain way of doing it, side by side in one run."""
