"""Kernels: the hot loops, written in Python and compiled when the package is built (see docs/kernels.md)."""
