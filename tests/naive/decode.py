"""The decoder once more, as plainly as it can be said: slices and ``struct``, one function per header.

It takes a whole file and keeps every segment. What it does not reach (rare link types, most tunnels) it names. It
shares nothing with ``capture`` but the words for what was skipped.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from tcptrace_tw.capture import skip_reasons

TIME_MAX = 4_600_000_000_000_000_000
"""Times from 1970 to this, in the year 2115, are believed."""

LATEST = 2**63 - 1
"""pcapng can tell times that an int64 cannot; they are cut off here."""


class Skip(Exception):
    """The frame is no TCP segment; the argument says why."""


class Frame(NamedTuple):
    """One record of a file."""

    time_ns: int
    link: int
    captured: bytes
    wirelen: int


@dataclass
class Decoded:
    """A whole file."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    is_damaged: bool = False


def decode_file(data: bytes) -> Decoded:
    """Every segment of a pcap or pcapng file."""
    frames, is_damaged = read_pcapng(data) if data[:4] == b"\n\r\r\n" else read_pcap(data)
    result = Decoded(frames=len(frames), is_damaged=is_damaged)
    times = believed([frame.time_ns for frame in frames])
    for number, (frame, time_ns) in enumerate(zip(frames, times, strict=True), 1):
        try:
            row = decode_frame(frame)
        except Skip as skip:
            result.skipped[str(skip)] = result.skipped.get(str(skip), 0) + 1
        else:
            result.rows.append({"frame": number, "time": time_ns, **row})
    return result


def believed(told: list[int]) -> list[int]:
    """A time that is not believed goes on from the one before: by their distance where both are on the same side."""
    times: list[int] = []
    for i, time in enumerate(told):
        before = times[-1] if times else 0
        if not 0 <= time <= TIME_MAX:
            is_run = i > 0 and ((time < 0 and told[i - 1] < 0) or (time > TIME_MAX and told[i - 1] > TIME_MAX))
            time = before + time - told[i - 1] if is_run else before
            time = time if 0 <= time <= TIME_MAX else before
        times.append(time)
    return times


def read_pcap(data: bytes) -> tuple[list[Frame], bool]:
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    unit = 1 if data[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1000
    snaplen, link = struct.unpack(f"{order}II", data[16:24])
    frames, rest = [], data[24:]
    while rest:
        if len(rest) < 16:
            return frames, True
        seconds, fraction, caplen, wirelen = struct.unpack(f"{order}IIII", rest[:16])
        limit = max(snaplen, 262144) if snaplen <= 1 << 24 else 262144
        if caplen > limit or (caplen > max(snaplen or 262144, 65535, wirelen)) or caplen > len(rest) - 16:
            return frames, True
        time_ns = seconds * 10**9 + fraction * unit
        frames.append(Frame(time_ns, link & 0x03FFFFFF, rest[16 : 16 + caplen], min(wirelen, 2**31 - 1)))
        rest = rest[16 + caplen :]
    return frames, False


class Interface(NamedTuple):
    """What an interface description block says."""

    link: int
    snaplen: int
    tick: Fraction
    offset_s: int


def read_pcapng(data: bytes) -> tuple[list[Frame], bool]:
    frames: list[Frame] = []
    interfaces: list[Interface] = []
    order = "<"
    while data:
        if len(data) < 12:
            return frames, True
        kind = struct.unpack(f"{order}I", data[:4])[0]
        if kind == 0x0A0D0D0A:
            if data[8:12] not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
                return frames, True
            order = ">" if data[8:12] == b"\x1a\x2b\x3c\x4d" else "<"
            interfaces = []
        length = struct.unpack(f"{order}I", data[4:8])[0]
        size = -(-length // 4) * 4
        if length < 12 or size > len(data):
            return frames, True
        block, data = data[8:size], data[size:]
        try:
            if kind == 1:
                interfaces.append(read_interface(block, order))
            elif kind in (2, 3, 6):
                if struct.unpack(f"{order}I", block[-4:])[0] != length:
                    return frames, True
                last = frames[-1].time_ns if frames else 0
                frames.append(read_packet(kind, block[:-4], order, interfaces, last))
        except (struct.error, IndexError, ValueError):
            return frames, True
    return frames, False


def read_interface(block: bytes, order: str) -> Interface:
    link, _, snaplen = struct.unpack(f"{order}HHI", block[:8])
    tick, offset, options = Fraction(1, 10**6), 0, block[8:-4]
    while len(options) >= 4:
        code, size = struct.unpack(f"{order}HH", options[:4])
        value = options[4 : 4 + size]
        if code == 0 or len(value) < size:
            break
        if code == 9 and value:
            tick = Fraction(1, 2 ** (value[0] & 127)) if value[0] & 128 else Fraction(1, 10 ** value[0])
        if code == 14 and size == 8:
            offset = struct.unpack(f"{order}q", value)[0]
        options = options[4 + -(-size // 4) * 4 :]
    return Interface(link, snaplen, tick, offset)


def read_packet(kind: int, block: bytes, order: str, interfaces: list[Interface], last: int) -> Frame:
    if kind == 3:
        (wirelen,) = struct.unpack(f"{order}I", block[:4])
        interface = interfaces[0]
        captured = block[4 : 4 + min(wirelen, interface.snaplen or wirelen)]
        return Frame(last, interface.link, captured, wirelen)
    which, high, low, caplen, wirelen = struct.unpack(f"{order}IIIII", block[:20])
    if kind == 2:
        (which,) = struct.unpack(f"{order}H", block[:2])
    if caplen > len(block) - 20:
        raise ValueError("longer than the block")
    interface = interfaces[which]
    time_ns = int((high * 2**32 + low) * interface.tick * 10**9 // 1)
    offset_ns = max(-LATEST, min(interface.offset_s * 10**9, LATEST))
    time_ns = min(time_ns + offset_ns, LATEST) if time_ns < LATEST else LATEST
    return Frame(time_ns, interface.link, block[20 : 20 + caplen], min(wirelen, 2**31 - 1))


def decode_frame(frame: Frame) -> dict[str, Any]:
    """The columns of the segment in a frame; raises ``Skip``."""
    kind, data = link_layer(frame.link, frame.captured)
    return network(kind, data, frame.wirelen - len(frame.captured), Scope())


@dataclass
class Scope:
    """VLANs and tunnel on the way to the segment."""

    vlans: list[int] = field(default_factory=list)
    tunnel: tuple[int, int] | None = None

    def packed(self) -> int:
        value = 0
        for i, vlan in enumerate(self.vlans[:2]):
            value += (vlan + 4096) * (8192**i)
        if self.tunnel:
            value += self.tunnel[0] * 2**58 + self.tunnel[1] * 2**26
        return value


def need(data: bytes, size: int, why: str) -> None:
    if len(data) < size:
        raise Skip(why)


LINK_CUT = "link header cut by the snap length"
IP_CUT = "IP header cut by the snap length"


def link_layer(link: int, data: bytes) -> tuple[int, bytes]:
    sizes = {1: (14, 12), 113: (16, 14), 276: (20, 0)}
    if link in sizes:
        size, at = sizes[link]
        need(data, size, LINK_CUT)
        return struct.unpack("!H", data[at : at + 2])[0], data[size:]
    if link in (0, 108):
        need(data, 4, LINK_CUT)
        family = data[0] + data[3]
        if family not in (2, 10, 24, 28, 30):
            raise Skip("network layer not known")
        return (0x0800 if family == 2 else 0x86DD), data[4:]
    if link not in (12, 14, 101, 228, 229):
        raise Skip("link type not known")
    return by_version(data), data


def by_version(data: bytes) -> int:
    need(data, 1, LINK_CUT)
    kinds = {4: 0x0800, 6: 0x86DD}
    if data[0] >> 4 not in kinds:
        raise Skip("network layer not known")
    return kinds[data[0] >> 4]


def network(kind: int, data: bytes, beyond: int, scope: Scope) -> dict[str, Any]:
    """``beyond`` is how many bytes of the frame were not captured."""
    if kind in (0x8100, 0x88A8, 0x9100):
        need(data, 4, LINK_CUT)
        tag, kind = struct.unpack("!HH", data[:4])
        if tag & 0xFFF:
            scope.vlans.append(tag & 0xFFF)
        return network(kind, data[4:], beyond, scope)
    if kind in (0x8847, 0x8848):
        return mpls(data, beyond, scope)
    if kind == 0x8864:
        return ppp(data[6:], beyond, scope)
    if kind == 0x8909:
        need(data, 2, LINK_CUT)
        data = data[2 + 4 * data[1] :]
        need(data, 2, LINK_CUT)
        return network(struct.unpack("!H", data[:2])[0], data[2:], beyond, scope)
    if kind == 0x6558:
        kind, data = link_layer(1, data)
        return network(kind, data, beyond, scope)
    if kind < 0x600 and data[:3] == b"\xaa\xaa\x03" and len(data) >= 8:
        return network(struct.unpack("!H", data[6:8])[0], data[8:], beyond, scope)
    if kind == 0x0800:
        return ipv4(data, beyond, scope)
    if kind == 0x86DD:
        return ipv6(data, beyond, scope)
    raise Skip(skip_reasons.name_of(kind))


def mpls(data: bytes, beyond: int, scope: Scope) -> dict[str, Any]:
    is_bottom = False
    while not is_bottom:
        need(data, 4, LINK_CUT)
        is_bottom = bool(data[2] & 1)
        data = data[4:]
    if data and data[0] >> 4 == 0:
        return network(0x6558, data[4:], beyond, scope)
    return network(by_version(data), data, beyond, scope)


def ppp(data: bytes, beyond: int, scope: Scope) -> dict[str, Any]:
    if data[:2] in (b"\x0f\0", b"\x8f\0") and len(data) >= 4:
        return network(struct.unpack("!H", data[2:4])[0], data[4:], beyond, scope)
    if data[:2] == b"\xff\x03":
        data = data[2:]
    need(data, 2, LINK_CUT)
    size = 1 if data[0] & 1 else 2
    protocol = int.from_bytes(data[:size], "big")
    kinds = {0x21: 0x0800, 0x57: 0x86DD, 0x281: 0x8847, 0x283: 0x8847}
    if protocol not in kinds:
        raise Skip("PPP control")
    return network(kinds[protocol], data[size:], beyond, scope)


def ipv4(data: bytes, beyond: int, scope: Scope) -> dict[str, Any]:
    need(data, 20, IP_CUT)
    header = (data[0] & 15) * 4
    if data[0] >> 4 != 4 or header < 20:
        raise Skip("broken IPv4 header")
    length, ip_id, fragment, ttl, protocol = struct.unpack("!HHHBB", data[2:10])
    payload = (length or len(data) + beyond) - header
    if fragment & 0x1FFF:
        raise Skip("IPv4 fragment" if protocol == 6 else protocol_name(protocol))
    inner = data[header:]
    if protocol == 51:
        protocol, used = extensions(51, inner)
        inner, payload = inner[used:], payload - used
    if fragment & 0x2000 and protocol == 6 and payload < 20:
        raise Skip("IPv4 fragment")
    if protocol != 6:
        return inside(protocol, inner, beyond)
    return {
        "src": (0, 0xFFFF << 32 | int.from_bytes(data[12:16], "big")),
        "dst": (0, 0xFFFF << 32 | int.from_bytes(data[16:20], "big")),
        "scope": scope.packed(),
        "ip_id": ip_id,
        "ttl": ttl,
        **tcp(inner, payload),
    }


def ipv6(data: bytes, beyond: int, scope: Scope) -> dict[str, Any]:
    need(data, 40, IP_CUT)
    if data[0] >> 4 != 6:
        raise Skip("broken IPv6 header")
    length, protocol, ttl = struct.unpack("!HBB", data[4:8])
    payload = length or len(data) + beyond - 40
    protocol, used = extensions(protocol, data[40:])
    if protocol != 6:
        return inside(protocol, data[40 + used :], beyond)
    return {
        "src": struct.unpack("!qq", data[8:24]),
        "dst": struct.unpack("!qq", data[24:40]),
        "scope": scope.packed(),
        "ip_id": 0,
        "ttl": ttl,
        **tcp(data[40 + used :], payload - used),
    }


def extensions(protocol: int, data: bytes) -> tuple[int, int]:
    used = 0
    for _ in range(16):
        if protocol not in (0, 43, 44, 51, 60, 135, 139, 140):
            return protocol, used
        need(data[used:], 8, IP_CUT)
        following, size = data[used], (data[used + 1] + 1) * 8
        if protocol == 44:
            if struct.unpack("!H", data[used + 2 : used + 4])[0] >> 3:
                raise Skip("IPv6 fragment")
            size = 8
        if protocol == 51:
            size = (data[used + 1] + 2) * 4
        protocol, used = following, used + size
    raise Skip("broken IPv6 header")


def protocol_name(protocol: int) -> str:
    return skip_reasons.name_of(skip_reasons.PROTOCOL + protocol)


def inside(protocol: int, data: bytes, beyond: int) -> dict[str, Any]:
    """Tunnels; inside of one the scope begins anew."""
    if protocol in (4, 41) and len(data) >= 20 and data[0] >> 4 in (4, 6):
        return network(by_version(data), data, beyond, Scope())
    if protocol == 47 and len(data) >= 4:
        flags, kind = struct.unpack("!HH", data[:4])
        has_sum, has_key, has_number = bool(flags & 0x8000), bool(flags & 0x2000), bool(flags & 0x1000)
        if flags & 7 == 1 and kind == 0x880B:  # PPTP
            return ppp(data[8 + 4 * has_number + 4 * bool(flags & 0x0080) :], beyond, Scope())
        at = 4 + 4 * has_sum
        if not flags & 0x4007 and len(data) >= at + 4 * has_key:
            scope = Scope(tunnel=(3, struct.unpack("!I", data[at : at + 4])[0])) if has_key else Scope()
            inside = data[at + 4 * has_key + 4 * has_number :]
            if kind == 0x88BE:  # ERSPAN
                return network(0x6558, inside[8 * has_number :], beyond, Scope())
            if kind == 0x22EB and len(inside) >= 12:  # ERSPAN III
                return network(0x6558, inside[20 if inside[11] & 1 else 12 :], beyond, Scope())
            if kind == 0x883E:  # WCCP
                return network(0x0800, inside if inside and inside[0] >> 4 == 4 else inside[4:], beyond, Scope())
            return network(kind, inside, beyond, scope)
    if protocol == 17 and len(data) >= 16:
        port = struct.unpack("!H", data[2:4])[0]
        vni = int.from_bytes(data[12:15], "big")
        if port in (4789, 8472) and data[8] & 8:
            return network(0x6558, data[16:], beyond, Scope(tunnel=(1, vni)))
        if port == 6081 and data[8] >> 6 == 0:
            kind = struct.unpack("!H", data[10:12])[0]
            return network(kind, data[16 + 4 * (data[8] & 63) :], beyond, Scope(tunnel=(2, vni)))
    raise Skip(protocol_name(protocol))


def tcp(data: bytes, length: int) -> dict[str, Any]:
    """``length`` is what IP says; ``data`` is what was captured of it, or more where the link layer pads."""
    if length < 20:
        raise Skip("broken TCP header")
    need(data, 20, "TCP header cut by the snap length")
    sport, dport, seq, ack, offset, window, checksum = struct.unpack("!HHIIHHH", data[:18])
    header = (offset >> 12) * 4
    if not 20 <= header <= length:
        raise Skip("broken TCP header")
    return {
        "sport": sport,
        "dport": dport,
        "seq": seq,
        "ack": ack,
        "flags": offset & 0x1FF,
        "window": window,
        "checksum": checksum,
        "payload_len": length - header,
        **options(data[20:header], header - 20),
    }


def options(data: bytes, size: int) -> dict[str, Any]:
    """``size`` bytes of options, of which ``data`` was captured."""
    found = {"options": 0, "tsval": 0, "tsecr": 0, "sack_start": 0, "sack_end": 0, "mss": 0, "wscale": 0}
    at = 0
    while at < size:
        if at >= len(data):
            found["options"] |= 32
            break
        kind = data[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        if at + 1 < size and at + 1 >= len(data):
            found["options"] |= 32
            break
        length = data[at + 1] if at + 1 < size else 0
        if length < 2 or at + length > size:
            found["options"] |= 64
            break
        if at + length > len(data):
            found["options"] |= 32
            break
        option(kind, data[at + 2 : at + length], found)
        at += length
    return found


def option(kind: int, value: bytes, found: dict[str, int]) -> None:
    number = int.from_bytes(value, "big")
    if kind == 8 and len(value) == 8:
        found["tsval"], found["tsecr"] = struct.unpack("!II", value)
        found["options"] |= 1
    elif kind == 2 and len(value) == 2:
        found["mss"] = number
        found["options"] |= 2
    elif kind == 3 and len(value) == 1:
        found["wscale"] = number
        found["options"] |= 4
    elif kind == 4 and not value:
        found["options"] |= 8
    elif kind == 5 and len(value) >= 8 and len(value) % 8 == 0:
        found["sack_start"], found["sack_end"] = struct.unpack("!II", value[:8])
        found["options"] |= 16
    elif kind in (2, 3, 4, 5, 8):
        found["options"] |= 64
