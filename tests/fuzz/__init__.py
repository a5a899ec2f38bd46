"""Mutated captures: no traceback, no hang, no flood of memory, and every frame accounted for.

A short run is part of the test suite. For a long one the kernels should be compiled:

    python -m tests.fuzz --target command --count 100000

sends each case through one of eight whole commands (``targets.COMMANDS``), some 15 ms of processor time each, and ends
with the count that was really run.

    nice python -m tests.fuzz --target commands --count 20000 --seconds 3600

makes captures from nothing (``captures``: conversations, clocks that may say anything, rings, odd pcapng) and sends
each through a whole command in any of its formats (``commands``). It ends with the costliest cases, and after
``--seconds`` with the options that go on. ``--run`` and ``--first`` give other cases; a case that fails is kept, and
belongs into ``corpus``. Long runs of 108,000 cases in all have found a server left in CLOSE-WAIT by connections from
mid-stream alone, an empty file without a name in its error, and a snoop file that ends inside its header.
"""
