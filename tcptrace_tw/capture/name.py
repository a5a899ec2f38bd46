"""What a capture is called: any bytes but NUL and the slash. It is shown in escapes, and opened as it is."""

from __future__ import annotations

import os

from tcptrace_tw.errors import printable


class Name(str):
    r"""The name of a file as it is shown; ``raw`` is what opens it.

    >>> name = Name("a\x1b[31m.pcap")
    >>> print(name)
    a\x1b[31m.pcap
    >>> raw(name) == "a\x1b[31m.pcap"
    True
    """

    raw: str

    def __new__(cls, name: str) -> Name:
        """Of a path as it was given, or of another name."""
        found = super().__new__(cls, printable(name))
        found.raw = raw(name)
        return found


def raw(name: str) -> str:
    """What opens a file; a plain string is that already."""
    return name.raw if isinstance(name, Name) else name


def octets(name: str) -> bytes:
    """The bytes of which the name of a file consists."""
    try:
        return os.fsencode(raw(name))
    except UnicodeEncodeError:  # no name of this system
        return raw(name).encode("utf-8", "surrogatepass")
