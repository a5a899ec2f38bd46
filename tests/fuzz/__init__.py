"""Mutated captures: no traceback, no hang, no flood of memory, and every frame accounted for.

A short run is part of the test suite. For a long one the kernels should be compiled:

    TCPTRACE_TW_JIT=1 python -m tests.fuzz --target command --count 100000

sends each case through one of eight whole commands (``targets.COMMANDS``), some 15 ms of processor time each, and ends
with the count that was really run. ``--run`` and ``--first`` give other cases; a case that fails is kept, and belongs
into ``corpus``. Long runs of 108,000 cases in all have found a server left in CLOSE-WAIT by connections from mid-stream
alone, an empty file without a name in its error, and a snoop file that ends inside its header.
"""
