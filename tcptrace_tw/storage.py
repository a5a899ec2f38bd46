"""Places where spools and tables lie: folders of this machine, and objects of a store (``s3:// gs:// az://``).

A place is a ``Path`` or an ``Object``. Objects appear whole or not at all, cannot be renamed, and have no folders.
``obstore`` reads and writes them; it finds keys and regions in the environment, as the tools of the stores do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Union

from tcptrace_tw.errors import UsageError, printable

_REMOTE = re.compile(r"(s3|gs|az)://", re.IGNORECASE)
_TRIES, _LONGEST_S = 5, 60
"""How often, and for how many seconds, a request is repeated that the store does not answer."""

CHUNK_BYTES = 8 << 20


def is_remote(name: str | os.PathLike[str]) -> bool:
    """Whether this names an object of a store."""
    return isinstance(name, str) and _REMOTE.match(name) is not None


def place(folder: str | os.PathLike[str] | Object, *names: str) -> Place:
    """A place in a folder, wherever that is."""
    if isinstance(folder, Object) or is_remote(folder):
        return Object("/".join([folder_of(str(folder)).url, *names]))
    return Path(folder, *names)


@dataclass(frozen=True)
class Object:
    """A name in a store; what begins with it and a slash is what a folder would have in it.

    ``UsageError`` for a name without a bucket.
    """

    url: str

    def __post_init__(self) -> None:
        scheme, _, rest = self.url.partition("://")
        if rest.startswith("/") or not rest:
            raise UsageError(f"{printable(self.url)}: it names no bucket; write {scheme}://BUCKET/KEY")

    @property
    def name(self) -> str:
        """Its last part."""
        return self.url.rpartition("/")[2]

    def __truediv__(self, name: str) -> Object:
        return Object(f"{self.url}/{name}")

    def __str__(self) -> str:
        return self.url

    def put(self, data: bytes | BinaryIO) -> None:
        """Write it, all at once."""
        with _asking(self) as (obstore, store, key):
            obstore.put(store, key, data, chunk_size=CHUNK_BYTES)

    def read_bytes(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """All of it, a piece at a time."""
        with _asking(self) as (obstore, store, key):
            for chunk in obstore.get(store, key).stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def ranges(self, places: Sequence[Sequence[int]]) -> list[bytes]:
        """Pieces of it: each an offset and a size."""
        with _asking(self) as (obstore, store, key):
            starts, lengths = [offset for offset, _ in places], [size for _, size in places]
            return [bytes(piece) for piece in obstore.get_ranges(store, key, starts=starts, lengths=lengths)]

    def state(self) -> tuple[int, str | None] | None:
        """Its size and the store's mark of what is in it; None where there is no such object."""
        try:
            with _asking(self) as (obstore, store, key):
                found = obstore.head(store, key)
                return found["size"], found["e_tag"]
        except FileNotFoundError:
            return None

    def inside(self) -> list[Object]:
        """All objects that a folder of this name would have in it, at any depth."""
        base, (_, prefix) = self._base, _parted(self.url)
        with _asking(self) as (obstore, store, _):
            found = [each["path"] for chunk in obstore.list(store, prefix or None) for each in chunk]
        return [Object(f"{base}/{path}") for path in found]

    def entries(self) -> tuple[list[str], list[str]]:
        """The names of the folders and of the objects that a folder of this name would have in it."""
        with _asking(self) as (obstore, store, prefix):
            found = obstore.list_with_delimiter(store, prefix or None)
        objects = [each["path"] for each in found["objects"]]
        names = [
            [path.rstrip("/").rpartition("/")[2] for path in paths] for paths in (found["common_prefixes"], objects)
        ]
        return names[0], names[1]

    def copy_to(self, other: Object) -> None:
        """Copy it; the store does that itself where it can."""
        if self._base != other._base:
            other.put(self.read_bytes())
            return
        with _asking(self) as (obstore, store, key):
            obstore.copy(store, key, _parted(other.url)[1])

    def remove(self) -> None:
        """Remove this object; nothing happens where there is none."""
        with _asking(self) as (obstore, store, key):
            obstore.delete(store, key)

    @property
    def _base(self) -> str:
        return _parted(self.url)[0]


def folder_of(url: str) -> Object:
    """The object that has the name of a folder; ``UsageError`` for a name without a bucket."""
    return Object(Object(url).url.rstrip("/"))


Place = Union[Path, Object]  # noqa: UP007 - Object is not yet known above


def exists(where: Place) -> bool:
    """Whether there is such a file or object."""
    return where.state() is not None if isinstance(where, Object) else where.exists()


def bring(source: Place, target: Place) -> None:
    """Copy a file or an object."""
    if isinstance(source, Path) and isinstance(target, Path):
        import shutil

        shutil.copyfile(source, target)
    elif isinstance(source, Object) and isinstance(target, Object):
        source.copy_to(target)
    elif isinstance(source, Object) and isinstance(target, Path):
        with target.open("wb") as file:
            file.writelines(source.chunks())
    elif isinstance(source, Path) and isinstance(target, Object):
        with source.open("rb") as file:
            target.put(file)


def remove_all(folder: str) -> None:
    """Remove a folder with all that is in it; what cannot be removed stays."""
    where = place(folder)
    if not isinstance(where, Object):
        import shutil

        shutil.rmtree(where, ignore_errors=True)
        return
    from contextlib import suppress

    with suppress(OSError):
        for each in where.inside():
            each.remove()


def _parted(url: str) -> tuple[str, str]:
    """The store, and the key in it."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme.lower()}://{bucket}", key


@contextmanager
def _asking(where: Object) -> Iterator[tuple[Any, Any, str]]:
    """``obstore``, the store of an object, and its key; what goes wrong within is an ``OSError`` that says where."""
    base, key = _parted(where.url)
    try:
        store = _store(base)
        import obstore

        yield obstore, store, key
    except FileNotFoundError:
        raise FileNotFoundError(f"{where}: there is no such object, or no such bucket") from None
    except (UsageError, GeneratorExit):
        raise
    except Exception as error:  # obstore's errors have no common base but Exception
        said = words_of(error)
        # A list of a bucket that does not exist ends with 404, and so does the search for keys that are not there.
        if "404 Not Found" in said and not _ASKED_FOR_KEYS.search(said):
            raise FileNotFoundError(f"{where}: there is no such bucket") from None
        raise OSError(f"{where}: the store refuses: {advice(base, said)} ({said})") from None


def words_of(error: object) -> str:
    """The first line of an error of obstore; the others are for its developers."""
    return printable(str(error).strip().partition("\n")[0])


def advice(url: str, said: str) -> str:
    """What the user can do when a store fails; ``said``: the words of its library, as ``words_of`` gives them."""
    if not _ASKED_FOR_KEYS.search(said):
        return "check the name and your keys"
    keys, prefix = _KEYS[url.partition("://")[0].lower()]
    return f"there are no keys: set {keys}, or {prefix}_SKIP_SIGNATURE=true for a public bucket"


_ASKED_FOR_KEYS = re.compile(
    r"169\.254\.169\.254|metadata\.google|/latest/(api/token|meta-data)|/metadata/identity|Account must be specified"
)
"""Where the library looks for keys on the network when the environment has none. Azure needs the account first."""

_KEYS = {
    "s3": ("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "AWS"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE"),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY", "AZURE"),
}
"""By scheme: the environment variables that name the keys, and the prefix of those of the library."""


@cache
def _store(base: str) -> Any:
    from datetime import timedelta

    try:
        from obstore.store import from_url
    except ImportError:
        raise UsageError(f"{base}: needs obstore: pip install 'tcptrace-tw[s3]'") from None
    return from_url(base, retry_config={"max_retries": _TRIES, "retry_timeout": timedelta(seconds=_LONGEST_S)})
