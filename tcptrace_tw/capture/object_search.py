"""Searches a store for captures: ``s3://bucket/2026-11/`` as a folder is searched, ``s3://bucket/2026-*/*.pcap``."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache

from tcptrace_tw.capture.address import without_password
from tcptrace_tw.errors import CaptureError
from tcptrace_tw.storage import Object, exists, folder_of, is_remote

ANY_DEPTH = "**"
FOLDER = ""
"""The last part of a pattern that ends with a slash: what it finds is a folder, and no object."""


@cache
def is_search(uri: str) -> bool:
    """Whether an address stands for what is found in a store: a glob that is no object's name, or a folder.

    The store is asked only where a name has no point in its last part: captures have one, folders seldom.
    """
    if not is_remote(uri):
        return False
    key = _key(uri)
    if not key or key.endswith("/"):
        return True
    try:
        if glob.has_magic(key):
            return not exists(Object(uri))
        return "." not in key.rpartition("/")[2] and not exists(Object(uri)) and any(Object(uri).entries())
    except OSError:
        return glob.has_magic(key)


def search(uri: str) -> Iterator[str]:
    """The addresses of all objects that it stands for; ``CaptureError`` where the store cannot be asked."""
    parts = _key(uri).rstrip("/").split("/")
    at = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    if uri.endswith("/") and at < len(parts):
        parts.append(FOLDER)
    bucket = folder_of(uri[: len(uri) - len(_key(uri))])
    top = Object("/".join([bucket.url, *filter(None, parts[:at])]))
    try:
        yield from (each.url for each in (_expanded(top, parts[at:]) if parts[at:] else top.inside()))
    except OSError as error:
        raise CaptureError(f"{without_password(uri)}: cannot be searched: {_without(str(error), str(top))}") from None


def _without(words: str, place: str) -> str:
    """The words without the place that they begin with: it may have keys in it."""
    return words.removeprefix(f"{place}: ")


def _key(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[2]


def _expanded(folder: Object, parts: Sequence[str]) -> Iterator[Object]:
    """What a pattern finds in a folder; a folder that it finds is searched like one that is named."""
    part, rest = parts[0], parts[1:]
    if part == FOLDER:
        yield from folder.inside()
        return
    if part == ANY_DEPTH:
        rest = [each for each in rest if each != FOLDER]
        for each in folder.inside():
            if _ends_with(each.url.removeprefix(f"{folder.url}/").split("/"), rest or ["*"]):
                yield each
        return
    folders, objects = folder.entries()
    for name in folders:
        if _is_match(name, part):
            yield from _expanded(folder / name, rest) if rest else (folder / name).inside()
    yield from (folder / name for name in objects if not rest and _is_match(name, part))


def _ends_with(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether ``parts`` find the object of these names in some folder, or a folder that it is in."""
    for begin in range(len(names) - len(parts) + 1):
        pairs = zip(names[begin : begin + len(parts)], parts, strict=True)
        if not any(name.startswith(".") for name in names[:begin]) and all(_is_match(*pair) for pair in pairs):
            return True
    return False


def _is_match(name: str, part: str) -> bool:
    """As the shell has it: names that begin with a point are only found by a pattern that does."""
    return fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
