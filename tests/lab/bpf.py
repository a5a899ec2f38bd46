"""Small programs inside the kernel, hung on raw tracepoints, without any library.

A tracepoint hands over pointers; what the lab needs lies behind them. These
programs copy the bytes into a ring buffer and leave all meaning to Python.
"""

import ctypes
import mmap
import os
import struct

SYS_BPF = 321  # x86-64
MAP_CREATE, PROG_LOAD, RAW_TRACEPOINT_OPEN = 0, 5, 17
MAP_RINGBUF, PROG_RAW_TRACEPOINT = 27, 17

KTIME_GET_NS, GET_STACK, PROBE_READ_KERNEL = 5, 67, 113
RINGBUF_RESERVE, RINGBUF_SUBMIT, RINGBUF_DISCARD = 131, 132, 133

R0, R1, R2, R3, R4, R6, R7, R8, R10 = 0, 1, 2, 3, 4, 6, 7, 8, 10
DW, W, H = 0x18, 0x00, 0x08

HEADER = 8 * 6  # time, kind, four arguments
RAW = 256  # bytes copied from the structure
STACK_DEPTH = 16
RECORD = HEADER + 8 + RAW + 8 * STACK_DEPTH

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command, attributes):
    block = attributes.ljust(152, b"\0")
    result = _libc.syscall(SYS_BPF, command, ctypes.c_char_p(block), len(block))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf({command}): {os.strerror(error)}")
    return result


class Code:
    """Instructions with named jump targets."""

    def __init__(self):
        self.items = []
        self.labels = {}

    def _put(self, code, dst=0, src=0, offset=0, imm=0):
        self.items.append((code, dst | src << 4, offset, imm))

    def mov(self, dst, src):
        self._put(0xBF, dst, src)

    def set(self, dst, imm):
        self._put(0xB7, dst, imm=imm)

    def set64(self, dst, imm, src=0):
        """Load 64 bits; with src=1 the immediate is a map's descriptor."""
        low, high = imm & 0xFFFFFFFF, imm >> 32
        self._put(0x18, dst, src, imm=_signed(low))
        self._put(0x00, imm=_signed(high))

    def add(self, dst, imm):
        self._put(0x07, dst, imm=imm)

    def add_reg(self, dst, src):
        self._put(0x0F, dst, src)

    def load(self, size, dst, src, offset):
        self._put(0x61 | size, dst, src, offset)

    def store(self, size, dst, offset, src):
        self._put(0x63 | size, dst, src, offset)

    def call(self, helper):
        self._put(0x85, imm=helper)

    def jump(self, label):
        self._put(0x05, offset=label)

    def jump_equal(self, dst, imm, label):
        self._put(0x15, dst, offset=label, imm=_signed(imm))

    def jump_unequal_reg(self, dst, src, label):
        self._put(0x5D, dst, src, label)

    def label(self, name):
        self.labels[name] = len(self.items)

    def exit(self):
        self.set(R0, 0)
        self._put(0x95)

    def assemble(self):
        """The program as bytes, jumps resolved."""
        return b"".join(
            struct.pack("<BBhi", code, counters, self._distance(i, offset), imm)
            for i, (code, counters, offset, imm) in enumerate(self.items)
        )

    def _distance(self, at, offset):
        return self.labels[offset] - at - 1 if isinstance(offset, str) else offset


def _signed(value):
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def attach(tracepoint, code):
    """Load a program and hang it on a tracepoint; the descriptors keep it alive."""
    program = code.assemble()
    text, licence = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(1 << 16)
    head = struct.pack(
        "<IIQQIIQ",
        PROG_RAW_TRACEPOINT,
        len(program) // 8,
        ctypes.addressof(text),
        ctypes.addressof(licence),
        1,
        len(log),
        ctypes.addressof(log),
    )
    try:
        program_fd = _bpf(PROG_LOAD, head)
    except OSError as error:
        raise RuntimeError(f"{tracepoint}: {error}\n{log.value.decode()}") from error
    name = ctypes.create_string_buffer(tracepoint.encode())
    link_fd = _bpf(RAW_TRACEPOINT_OPEN, struct.pack("<QI", ctypes.addressof(name), program_fd))
    return program_fd, link_fd


class RingBuffer:
    """The kernel writes records, `drain` takes them out; order is the order of reservation."""

    def __init__(self, size=1 << 22):
        self.size = size
        self.fd = _bpf(MAP_CREATE, struct.pack("<IIII", MAP_RINGBUF, 0, 0, size))
        page = mmap.PAGESIZE
        self.consumer = mmap.mmap(self.fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.producer = mmap.mmap(self.fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self.position = 0

    def drain(self):
        """All finished records since the last call."""
        (end,) = struct.unpack_from("<Q", self.producer, 0)
        records = []
        while self.position < end:
            at = mmap.PAGESIZE + self.position % self.size
            (head,) = struct.unpack_from("<I", self.producer, at)
            if head & 0x80000000:  # still being written
                break
            length = head & 0x3FFFFFFF
            if not head & 0x40000000:  # not discarded
                records.append(self.producer[at + 8 : at + 8 + length])
            self.position += (length + 8 + 7) & ~7
        struct.pack_into("<Q", self.consumer, 0, self.position)
        return records

    def is_nearly_full(self):
        """True when records may have been lost for want of room."""
        (end,) = struct.unpack_from("<Q", self.producer, 0)
        return end - self.position > self.size - 4 * (RECORD + 8)

    def close(self):
        self.consumer.close()
        self.producer.close()
        os.close(self.fd)
