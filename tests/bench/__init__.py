"""Workloads of known size and what it costs to analyse them; ``python -m tests.bench.run --help``."""
