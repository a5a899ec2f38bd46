"""A TCP segment in an Ethernet frame: taken apart, put together, forged."""

import dataclasses
import ipaddress
import struct

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
LETTERS = (("S", SYN), ("F", FIN), ("R", RST), ("P", PSH), (".", ACK))
MASK = 0xFFFFFFFF


@dataclasses.dataclass(frozen=True)
class Segment:
    """One segment; `seq` and `ack` are absolute, options are those the lab cares for."""

    src: str
    dst: str
    sport: int
    dport: int
    seq: int
    ack: int = 0
    flags: int = ACK
    window: int = 65535
    payload: bytes = b""
    tsval: int | None = None
    tsecr: int = 0
    mss: int | None = None
    wscale: int | None = None
    sack_ok: bool = False
    ttl: int = 64
    ip_id: int = 0

    @property
    def end(self):
        """Sequence number after this segment (SYN and FIN count)."""
        length = len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)
        return (self.seq + length) & MASK

    def has(self, flags):
        """True when all the given flags are set."""
        return self.flags & flags == flags

    def replace(self, **changes):
        """A copy with other fields; sequence numbers wrap."""
        changes = {k: v & MASK if k in ("seq", "ack", "tsval") and v is not None else v for k, v in changes.items()}
        return dataclasses.replace(self, **changes)

    def words(self):
        """One line for notes and logs."""
        flags = "".join(letter for letter, bit in LETTERS if self.flags & bit)
        ts = "" if self.tsval is None else f" tsval {self.tsval} tsecr {self.tsecr}"
        ends = f"{endpoint(self.src, self.sport)} > {endpoint(self.dst, self.dport)}"
        return f"{ends} {flags} seq {self.seq} ack {self.ack} len {len(self.payload)}{ts}"

    def packet(self):
        """The segment as an IP packet with right checksums."""
        source, target = ipaddress.ip_address(self.src), ipaddress.ip_address(self.dst)
        options = self._options()
        head = struct.pack(
            "!HHIIBBHHH",
            self.sport,
            self.dport,
            self.seq,
            self.ack,
            (20 + len(options)) // 4 << 4,
            self.flags,
            self.window,
            0,
            0,
        )
        tcp = head + options + self.payload
        pseudo = source.packed + target.packed + struct.pack("!II", len(tcp), 6)
        tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
        return self._ip_header(source, target, len(tcp)) + tcp

    def _ip_header(self, source, target, length):
        if source.version == 6:
            return struct.pack("!IHBB", 6 << 28, length, 6, self.ttl) + source.packed + target.packed
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, self.ip_id, 0x4000, self.ttl, 6, 0)
        head += source.packed + target.packed
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:]

    def _options(self):
        options = b""
        if self.mss is not None:
            options += struct.pack("!BBH", 2, 4, self.mss)
        if self.sack_ok:
            options += b"\4\2"
        if self.tsval is not None:
            options += struct.pack("!BBII", 8, 10, self.tsval, self.tsecr)
        if self.wscale is not None:
            options += struct.pack("!BBB", 3, 3, self.wscale)
        return options + b"\1" * (-len(options) % 4)


def endpoint(address, port):
    """`10.0.0.1:80` or `[2001:db8::1]:80`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def checksum(data):
    """The Internet checksum."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def parse_packet(packet):
    """An IP packet to a Segment; None when it is not TCP."""
    version = packet[0] >> 4
    if version == 4 and packet[9] == 6:
        head, total = (packet[0] & 15) * 4, int.from_bytes(packet[2:4])
        addresses, ttl, ip_id = packet[12:20], packet[8], int.from_bytes(packet[4:6])
    elif version == 6 and packet[6] == 6:
        head, total = 40, 40 + int.from_bytes(packet[4:6])
        addresses, ttl, ip_id = packet[8:40], packet[7], 0
    else:
        return None
    half = len(addresses) // 2
    src, dst = (str(ipaddress.ip_address(part)) for part in (addresses[:half], addresses[half:]))
    return _parse_tcp(packet[head:total], src=src, dst=dst, ttl=ttl, ip_id=ip_id)


def _parse_tcp(tcp, **ip):
    sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", tcp)
    length = (offset >> 4) * 4
    return Segment(
        sport=sport,
        dport=dport,
        seq=seq,
        ack=ack,
        flags=flags,
        window=window,
        payload=tcp[length:],
        **ip,
        **_parse_options(tcp[20:length]),
    )


def _parse_options(data):
    found, at = {}, 0
    while at < len(data) and data[at]:
        kind = data[at]
        if kind == 1:
            at += 1
            continue
        if at + 1 >= len(data) or data[at + 1] < 2:
            break
        body = data[at + 2 : at + data[at + 1]]
        if kind == 2:
            found["mss"] = int.from_bytes(body)
        elif kind == 3:
            found["wscale"] = body[0]
        elif kind == 4:
            found["sack_ok"] = True
        elif kind == 8 and len(body) == 8:
            found["tsval"], found["tsecr"] = struct.unpack("!II", body)
        at += data[at + 1]
    return found
