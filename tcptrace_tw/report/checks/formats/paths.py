"""Capture files as dashboards want them: relative to the folder that the check ran in."""

import os
from urllib.parse import quote

from tcptrace_tw.capture.name import Name, octets, raw


def relative(path: str) -> Name:
    """The path below the current folder with slashes; what is elsewhere, or no file, stays as it is."""
    return Name(_relative(raw(path)))


def _relative(path: str) -> str:
    if path == "-":
        return "stdin"
    if "://" in path:
        return path
    below = os.path.relpath(path)
    return (path if below.startswith("..") else below).replace(os.sep, "/")


def uri(path: str) -> str:
    """A URI reference, made of the bytes of the name: relative for a file below the current folder."""
    found = relative(path)
    if "://" in found:
        return quote(octets(found), safe=":/?#[]@!$&'()*+,;=%~")
    return ("file://" if found.startswith("/") else "") + quote(octets(found))
