"""The kernel's own type description (BTF): where a member lies and which id a function has.

The tracer copies raw bytes out of kernel structures; offsets differ between
kernels, so they are always asked for here and never written down.
"""

import functools
import struct

VMLINUX = "/sys/kernel/btf/vmlinux"

INT, ARRAY, STRUCT, UNION, ENUM, FUNC, FUNC_PROTO = 1, 3, 4, 5, 6, 12, 13
VAR, DATASEC, DECL_TAG, ENUM64 = 14, 15, 17, 19
CONST_SIZED = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}
PER_ITEM = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}


class Btf:
    """One BTF blob, indexed by the names the tracer needs."""

    def __init__(self, blob):
        self.blob = blob
        header_len, type_off, type_len, str_off, _ = struct.unpack_from("<IIIII", blob, 4)
        self.strings = header_len + str_off
        self.types = [None]
        self.ids = {}
        self._index(header_len + type_off, header_len + type_off + type_len)

    def _index(self, at, end):
        while at < end:
            name_off, info, value = struct.unpack_from("<III", self.blob, at)
            kind, vlen, flag = (info >> 24) & 0x1F, info & 0xFFFF, info >> 31
            self.types.append((kind, vlen, flag, value, at + 12))
            if kind in (STRUCT, FUNC):
                self.ids.setdefault((kind, self.name(name_off)), len(self.types) - 1)
            at += 12 + CONST_SIZED.get(kind, 0) + vlen * PER_ITEM.get(kind, 0)

    def name(self, offset):
        """The string at an offset of the string section."""
        start = self.strings + offset
        return self.blob[start : self.blob.index(b"\0", start)].decode()

    def function_id(self, name):
        """The type id by which a program attaches to a kernel function."""
        return self.ids[FUNC, name]

    @functools.cache  # noqa: B019 - there is one Btf, for ever
    def offset(self, struct_name, member):
        """Byte offset of a member, also when it hides in anonymous unions."""
        found = self._search(self.ids[STRUCT, struct_name], member)
        if found is None:
            raise KeyError(f"struct {struct_name} has no member {member}")
        return found

    def _search(self, type_id, member):
        kind, vlen, flag, _, at = self.types[type_id]
        if kind not in (STRUCT, UNION):
            return None
        for i in range(vlen):
            name_off, inner, bits = struct.unpack_from("<III", self.blob, at + 12 * i)
            offset = (bits & 0xFFFFFF if flag else bits) // 8
            name = self.name(name_off)
            if name == member:
                return offset
            if name == "":
                deeper = self._search(inner, member)
                if deeper is not None:
                    return offset + deeper
        return None


@functools.cache
def kernel():
    """BTF of the running kernel."""
    with open(VMLINUX, "rb") as file:
        return Btf(file.read())
