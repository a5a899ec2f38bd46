"""Slow, plain twins of the package's kernels: written from the RFCs, sharing no code with what they check."""
