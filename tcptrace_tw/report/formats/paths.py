"""Capture files as dashboards want them: relative to the folder that the check ran in."""

import os
from urllib.parse import quote


def relative(path: str) -> str:
    """The path below the current folder with slashes; what is elsewhere, or no file, stays as it is."""
    if path == "-":
        return "stdin"
    if "://" in path:
        return path
    below = os.path.relpath(path)
    return (path if below.startswith("..") else below).replace(os.sep, "/")


def uri(path: str) -> str:
    """A URI reference: relative for a file below the current folder."""
    found = relative(path)
    if "://" in found:
        return quote(found, safe=":/?#[]@!$&'()*+,;=%~")
    return ("file://" if found.startswith("/") else "") + quote(found)
