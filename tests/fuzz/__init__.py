"""Mutated captures: no traceback, no hang, no flood of memory, and every frame accounted for.

``python -m tests.fuzz --count N`` for a long run; a short one is part of the test suite.
"""
