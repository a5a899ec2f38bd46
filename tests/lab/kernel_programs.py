"""What is copied at which tracepoint: the programs of the kernel record.

One shape serves all: time, kind, the tracepoint's arguments, the inode number
of the network namespace (and the source port of a full socket), 256 raw bytes
of the structure, the kernel stack. Other namespaces are left alone inside the
kernel, so that several situations can be recorded side by side.
"""

import functools
import os
import re

from tests.lab import bpf, btf
from tests.lab.bpf import DW, HEADER, R0, R1, R2, R3, R4, R6, R7, R8, R10, RAW, W

SET_STATE, TW_START, TW_CANCEL, TW_EXPIRE, REQ_START, REQ_CANCEL, REQ_EXPIRE, DROP = range(1, 9)

TIMERS = {
    "tw_timer_handler": ("inet_timewait_sock", "tw_timer", (TW_START, TW_CANCEL, TW_EXPIRE)),
    "reqsk_timer_handler": ("request_sock", "rsk_timer", (REQ_START, REQ_CANCEL, REQ_EXPIRE)),
}
TIMER_TRACEPOINTS = ("timer_start", "timer_cancel", "timer_expire_entry")

INUM_AT = HEADER
RAW_AT = HEADER + 8
STACK_AT = RAW_AT + RAW


def symbol(name):
    """Address of a kernel function, from the symbol table."""
    with open("/proc/kallsyms") as table:
        for line in table:
            address, _, found = line.split()[:3]
            if found == name:
                return int(address, 16)
    raise KeyError(name)


@functools.cache
def _drop_reasons():
    format_file = "/sys/kernel/tracing/events/skb/kfree_skb/format"
    with open(format_file) as file:
        return {int(number): name for number, name in re.findall(r"{ (\d+), \"(\w+)\" }", file.read())}


def drop_reason(number):
    """The kernel's name of a drop reason."""
    return _drop_reasons().get(number, "")


def attach_all(ring, namespaces):
    """Attach every program; returns the descriptors that keep them running."""
    offsets = btf.kernel()
    links = [bpf.attach("inet_sock_set_state", _set_state(ring, namespaces, offsets))]
    for handler, (struct_name, member, kinds) in TIMERS.items():
        base = offsets.offset(struct_name, member)
        address = symbol(handler)
        for tracepoint, kind in zip(TIMER_TRACEPOINTS, kinds, strict=True):
            code = _timer(ring, namespaces, offsets, kind, base, address)
            links.append(bpf.attach(tracepoint, code))
    links.append(bpf.attach("kfree_skb", _drop(ring, offsets)))
    return [fd for pair in links for fd in pair]


def detach(links):
    """Take the programs away again."""
    for fd in links:
        os.close(fd)


def _begin(code, ring, kind, arguments):
    """Reserve a record in R7 and fill its head; R6 keeps the context."""
    code.set64(R1, ring.fd, src=1)
    code.set(R2, bpf.RECORD)
    code.set(R3, 0)
    code.call(bpf.RINGBUF_RESERVE)
    code.jump_equal(R0, 0, "out")
    code.mov(R7, R0)
    code.call(bpf.KTIME_GET_NS)
    code.store(DW, R7, 0, R0)
    code.set(R1, kind)
    code.store(DW, R7, 8, R1)
    for i in range(4):
        if i < arguments:
            code.load(DW, R1, R6, 8 * i)
        else:
            code.set(R1, 0)
        code.store(DW, R7, 16 + 8 * i, R1)


def _read(code, at, size, pointer):
    """Copy `size` bytes from the kernel address in a register to the record."""
    code.mov(R3, pointer)
    code.mov(R1, R7)
    code.add(R1, at)
    code.set(R2, size)
    code.call(bpf.PROBE_READ_KERNEL)


def _keep_own_namespaces(code, namespaces, offsets):
    """Leave at once unless net->ns.inum of the socket in R8 is ours.

    A program that is interrupted by itself is skipped by the kernel, so what
    is not ours must be over quickly. The inode number stays at R10 - 8.
    """
    code.mov(R3, R8)
    code.add(R3, offsets.offset("sock_common", "skc_net"))
    _read_to_stack(code, 8)
    code.load(DW, R3, R10, -8)
    code.add(R3, offsets.offset("net", "ns") + offsets.offset("ns_common", "inum"))
    _read_to_stack(code, 4)
    code.load(W, R1, R10, -8)
    for inum in namespaces:
        code.set64(R2, inum)
        code.jump_unequal_reg(R1, R2, f"not {inum}")
        code.jump("keep")
        code.label(f"not {inum}")
    code.jump("out")
    code.label("keep")


def _read_to_stack(code, size):
    """Copy up to 8 bytes from the kernel address in R3 to R10 - 8."""
    code.mov(R1, R10)
    code.add(R1, -8)
    code.set(R2, size)
    code.call(bpf.PROBE_READ_KERNEL)


def _finish(code, with_stack=True):
    """Add the kernel stack and hand the record over."""
    if with_stack:
        code.mov(R1, R6)
        code.mov(R2, R7)
        code.add(R2, STACK_AT)
        code.set(R3, 8 * bpf.STACK_DEPTH)
        code.set(R4, 0)
        code.call(bpf.GET_STACK)
    code.mov(R1, R7)
    code.set(R2, 0)
    code.call(bpf.RINGBUF_SUBMIT)
    code.label("out")
    code.exit()


def _set_state(ring, namespaces, offsets):
    code = bpf.Code()
    code.mov(R6, R1)
    code.load(DW, R8, R6, 0)
    _keep_own_namespaces(code, namespaces, offsets)
    _begin(code, ring, SET_STATE, 3)
    _store_inum(code)
    _read(code, RAW_AT, RAW, R8)
    code.add(R8, offsets.offset("inet_sock", "inet_sport"))
    _read(code, INUM_AT + 4, 2, R8)
    _finish(code, with_stack=False)
    return code


def _store_inum(code):
    code.load(W, R1, R10, -8)
    code.store(DW, R7, INUM_AT, R1)


def _timer(ring, namespaces, offsets, kind, base, handler):
    """Timer events of one handler; `base` leads from the timer to its structure."""
    code = bpf.Code()
    code.mov(R6, R1)
    code.load(DW, R3, R6, 0)
    code.add(R3, offsets.offset("timer_list", "function"))
    _read_to_stack(code, 8)
    code.load(DW, R1, R10, -8)
    code.set64(R2, handler)
    code.jump_unequal_reg(R1, R2, "out")
    code.load(DW, R8, R6, 0)
    code.add(R8, -base)
    _keep_own_namespaces(code, namespaces, offsets)
    _begin(code, ring, kind, 1)
    _store_inum(code)
    _read(code, RAW_AT, RAW, R8)
    _finish(code)
    return code


def _drop(ring, offsets):
    """A dropped segment: its IP and TCP headers and the reason (filtered by address later)."""
    code = bpf.Code()
    code.mov(R6, R1)
    _begin(code, ring, DROP, 3)
    code.load(DW, R8, R6, 0)
    code.set(R1, 0)
    code.store(DW, R10, -8, R1)
    code.mov(R3, R8)
    code.add(R3, offsets.offset("sk_buff", "network_header"))
    _read_to_stack(code, 2)
    code.load(DW, R1, R10, -8)
    code.store(DW, R10, -16, R1)
    code.mov(R3, R8)
    code.add(R3, offsets.offset("sk_buff", "head"))
    _read_to_stack(code, 8)
    code.load(DW, R8, R10, -8)
    code.load(DW, R1, R10, -16)
    code.add_reg(R8, R1)
    _read(code, RAW_AT, 128, R8)
    _finish(code)
    return code
