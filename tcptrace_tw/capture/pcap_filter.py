"""Reads ``--filter``: the words of pcap-filter(7) that everybody types, over whole connections.

``host net port portrange src dst tcp ip ip6 vlan and or not && || ! ( )``, and values without a word, which take the
words of the value before them: ``src port 80 or 443``. As in pcap-filter, ``and`` and ``or`` bind equally, from left to
right, ``not`` binds closest, and ``src`` and ``dst`` are sender and receiver of a segment. A connection has segments of
both directions, and is kept when the expression holds for either: ``src host A`` keeps all that A sends in.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from tcptrace_tw.errors import UsageError, nearest, printable
from tcptrace_tw.schema.scope import INNER_SHIFT, VLAN_MASK, VLAN_PRESENT

DEPTH_MAX = 100
"""Parentheses and ``not`` inside each other."""

Mask = NDArray[np.bool_]
Test = Callable[["Ends"], Mask]


class Ends(NamedTuple):
    """What an expression looks at: one row per segment, or per connection with orig as the sender."""

    src_hi: NDArray[np.int64]
    src_lo: NDArray[np.int64]
    dst_hi: NDArray[np.int64]
    dst_lo: NDArray[np.int64]
    sport: NDArray[np.uint16]
    dport: NDArray[np.uint16]
    scope: NDArray[np.int64]

    def turned(self) -> Ends:
        """The same, seen from the other direction."""
        return Ends(self.dst_hi, self.dst_lo, self.src_hi, self.src_lo, self.dport, self.sport, self.scope)


class Filter:
    """An expression, ready to be asked; picklable by its text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._test = _Parser(text).parse()

    def __reduce__(self) -> tuple[type[Filter], tuple[str]]:
        return Filter, (self.text,)

    def keeps(self, batch: Any) -> Mask:
        """Which segments of a batch belong to connections that are kept: the same answer for both directions."""
        ends = Ends(*(getattr(batch, name) for name in Ends._fields))
        return self._test(ends) | self._test(ends.turned())


class _Token(NamedTuple):
    text: str
    at: int


class _Words(NamedTuple):
    """The words before a value."""

    protocol: str = ""
    side: str = ""
    kind: str = ""


_SYNONYMS = {"&&": "and", "||": "or", "!": "not"}
_PROTOCOLS = ("tcp", "ip", "ip6")
_KINDS = ("host", "net", "port", "portrange")
_WORDS = (*_PROTOCOLS, *_KINDS, "src", "dst", "vlan", "and", "or", "not", "mask")
_OTHER_WORDS = {
    "udp": "only TCP is analysed",
    "icmp": "only TCP is analysed",
    "icmp6": "only TCP is analysed",
    "arp": "only TCP is analysed",
    "proto": "only TCP is analysed",
    "less": "connections have no frame length",
    "greater": "connections have no frame length",
    "ether": "link addresses are not kept; use host",
    "gateway": "link addresses are not kept; use host",
    "broadcast": "TCP has no broadcast",
    "multicast": "TCP has no multicast",
    "mpls": "MPLS labels are not part of a tuple",
    "pppoes": "PPPoE sessions are not part of a tuple",
}


class _Parser:
    """A Pratt parser: ``_expression`` reads operators, ``_operand`` what stands between them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [_Token(m[0], m.start()) for m in re.finditer(r"[()!]|&&?|\|\|?|[^\s()&|!]+", text)]
        self._next = 0
        self._depth = 0
        self._words: _Words | None = None
        self._are_values_only = False

    def parse(self) -> Test:
        """The test of the whole text; an empty one keeps everything."""
        if not self._tokens:
            return _everything
        test = self._expression()
        if self._next < len(self._tokens):
            self._fail(
                self._tokens[self._next],
                "a ) without a matching (" if self._peek() == ")" else "'and' or 'or' is missing",
            )
        return test

    def _expression(self) -> Test:
        chain: list[tuple[str, Test]] = [("", self._operand())]
        while self._peek() in ("and", "or"):
            operator = self._peek()
            self._next += 1
            chain.append((operator, self._operand()))
        return chain[0][1] if len(chain) == 1 else _chain(chain)

    def _operand(self) -> Test:
        token = self._take("a value is missing at the end")
        word = _word(token)
        if word in ("not", "("):
            self._depth += 1
            if self._depth > DEPTH_MAX:
                self._fail(token, f"more than {DEPTH_MAX} levels of nesting")
            test = _not(self._operand()) if word == "not" else self._group(token)
            self._depth -= 1
            return test
        if word in (")", "and", "or"):
            self._fail(token, "a value is missing here")
        if word in ("&", "|"):
            self._fail(token, f"did you mean {word}{word}?")
        if word == "vlan":
            return self._vlan()
        self._next -= 1
        return self._primitive()

    def _group(self, opening: _Token) -> Test:
        test = self._expression()
        if self._peek() != ")":
            where = self._tokens[self._next] if self._next < len(self._tokens) else opening
            self._fail(where, "its ) is missing" if where is opening else "and, or or ) is missing")
        self._next += 1
        return test

    def _vlan(self) -> Test:
        number = _number(self._peek())
        if number is None:
            return _vlan(None)
        token = self._take("")
        if number > VLAN_MASK:
            self._fail(token, f"a VLAN id is at most {VLAN_MASK}")
        return _vlan(number)

    def _primitive(self) -> Test:
        """``[protocol] [side] [kind] value``; a value alone takes the words of the one before it."""
        first = self._next
        words = _Words(self._one_of(_PROTOCOLS), self._side(), self._one_of(_KINDS))
        if self._next == first:
            return self._value(self._words or words, has_words=False)
        if self._are_values_only:
            self._fail(self._tokens[first], "only values are allowed in these parentheses")
        if not (words.side or words.kind) and self._peek() in ("", ")", "and", "or"):
            return _family(words.protocol)
        if self._peek() == "(":
            return self._values(words)
        return self._value(words, has_words=bool(words.kind))

    def _values(self, words: _Words) -> Test:
        """``port (80 or 443)``: the words before the parentheses go for all values inside."""
        self._words, self._are_values_only = words, True
        test = self._group(self._take(""))
        self._are_values_only = False
        return test

    def _side(self) -> str:
        side = self._one_of(("src", "dst"))
        if side and self._peek() in ("and", "or") and self._peek(1) in ("src", "dst"):
            side = f"{side} {self._peek()} {self._peek(1)}"
            self._next += 2
        return side

    def _value(self, words: _Words, *, has_words: bool) -> Test:
        token = self._take(f"a value is missing after {self._tokens[-1].text}")
        if _word(token) in (*_WORDS, *_SYNONYMS.values(), ")", "(", "&", "|"):
            self._fail(token, "a value is missing before this")
        self._words = words
        kind = words.kind or ("net" if "/" in token.text else "host")
        if kind == "port":
            test = _ports(words.side, *[self._port(token, token.text)] * 2)
        elif kind == "portrange":
            test = self._portrange(words.side, token)
        elif kind == "net":
            test = _network(words.side, self._net(token))
        else:
            test = _network(words.side, self._host(token, has_words=has_words))
        return test if words.protocol in ("", "tcp") else _both(_family(words.protocol), test)

    def _port(self, token: _Token, text: str) -> int:
        number = _number(text)
        if number is not None:
            if number > 65535:
                self._fail(token, "a port is at most 65535")
            return number
        if re.fullmatch(r"\d+-\d+", text):
            self._fail(token, f"did you mean portrange {text}?")
        try:
            return socket.getservbyname(text, "tcp")
        except (OSError, ValueError):
            self._fail(token, "no port has this name; give the number")

    def _portrange(self, side: str, token: _Token) -> Test:
        low, dash, high = token.text.partition("-")
        first = self._port(token, low)
        last = self._port(token, high) if dash else first
        return _ports(side, min(first, last), max(first, last))

    def _host(self, token: _Token, *, has_words: bool) -> _Network:
        if "/" in token.text:
            self._fail(token, f"did you mean net {token.text}?")
        try:
            return ipaddress.ip_network(token.text)
        except ValueError:
            pass
        word = token.text.lower()
        if word in _OTHER_WORDS:
            self._fail(token, _OTHER_WORDS[word])
        if not has_words and word.isdecimal():
            self._fail(token, f"did you mean port {word}?")
        if not has_words and (near := nearest(word, _WORDS)):
            self._fail(token, f"did you mean {near}?")
        return self._fail(token, "is not an address, and names are not looked up")

    def _net(self, token: _Token) -> _Network:
        """``10.0.0.0/8``, ``10.0.0.0 mask 255.0.0.0``, or the first bytes alone: ``10``, ``10.1``."""
        text = token.text
        if self._peek() == "mask":
            self._next += 1
            text += f"/{self._take('the mask is missing').text}"
        elif re.fullmatch(r"\d{1,3}(\.\d{1,3}){0,2}", text):
            parts = text.count(".") + 1
            text += ".0" * (4 - parts) + f"/{8 * parts}"
        try:
            return ipaddress.ip_network(text)
        except ValueError:
            pass
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return self._fail(token, "is not a network; write it like 10.0.0.0/8")
        return self._fail(token, f"has bits set outside the mask; did you mean {meant}?")

    def _one_of(self, words: Sequence[str]) -> str:
        word = self._peek()
        if word in words:
            self._next += 1
            return word
        return ""

    def _peek(self, ahead: int = 0) -> str:
        at = self._next + ahead
        return _word(self._tokens[at]) if at < len(self._tokens) else ""

    def _take(self, missing: str) -> _Token:
        if self._next == len(self._tokens):
            self._fail(_Token("", len(self._text.rstrip())), missing)
        self._next += 1
        return self._tokens[self._next - 1]

    def _fail(self, token: _Token, reason: str) -> NoReturn:
        name = f"{token.text}: " if token.text else ""
        marks = " " * len(printable(self._text[: token.at])) + "^" * max(1, len(printable(token.text)))
        raise UsageError(f"--filter: {name}{reason}", f"  {self._text}", f"  {marks}")


def _word(token: _Token) -> str:
    """The token as a keyword is compared."""
    word = token.text.lower()
    return _SYNONYMS.get(word, word)


def _number(text: str) -> int | None:
    """The number that the digits make, None where there are others; one that is far too large is cut off."""
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text.lstrip("0")[:20] or "0")


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _everything(ends: Ends) -> Mask:
    return np.ones(ends.sport.size, np.bool_)


def _chain(chain: Sequence[tuple[str, Test]]) -> Test:
    def test(ends: Ends) -> Mask:
        result = chain[0][1](ends)
        for operator, operand in chain[1:]:
            result = result & operand(ends) if operator == "and" else result | operand(ends)
        return result

    return test


def _both(one: Test, other: Test) -> Test:
    return _chain([("", one), ("and", other)])


def _not(operand: Test) -> Test:
    return lambda ends: ~operand(ends)


def _sided(side: str, src: Test, dst: Test) -> Test:
    """The test of the sender, of the receiver, of both, or where nothing is said of either."""
    if side in ("src", "dst"):
        return src if side == "src" else dst
    return _chain([("", src), ("and" if " and " in side else "or", dst)])


def _ports(side: str, low: int, high: int) -> Test:
    return _sided(
        side,
        lambda ends: (ends.sport >= low) & (ends.sport <= high),
        lambda ends: (ends.dport >= low) & (ends.dport <= high),
    )


def _network(side: str, network: _Network) -> Test:
    base, bits = int(network.network_address), network.prefixlen
    if network.version == 4:
        base, bits = base | 0xFFFF << 32, bits + 96
    mask = ((1 << bits) - 1) << (128 - bits)
    (base_hi, base_lo), (mask_hi, mask_lo) = _vlan_splits(base), _vlan_splits(mask)
    return _sided(
        side,
        lambda ends: (ends.src_hi & mask_hi == base_hi) & (ends.src_lo & mask_lo == base_lo),
        lambda ends: (ends.dst_hi & mask_hi == base_hi) & (ends.dst_lo & mask_lo == base_lo),
    )


def _vlan_splits(number: int) -> tuple[np.int64, np.int64]:
    """128 bits as the two int64 of an address."""
    high, low = np.frombuffer(number.to_bytes(16, "big"), ">i8").astype(np.int64)
    return high, low


def _family(protocol: str) -> Test:
    if protocol == "tcp":
        return _everything
    if protocol == "ip6":
        return _not(_family("ip"))
    return lambda ends: (ends.src_hi == 0) & (ends.src_lo >> 32 == 0xFFFF)


def _vlan(number: int | None) -> Test:
    if number is None:
        return lambda ends: ends.scope & VLAN_PRESENT != 0
    wanted = number | VLAN_PRESENT
    tag = VLAN_MASK | VLAN_PRESENT
    return lambda ends: (ends.scope & tag == wanted) | (ends.scope >> INNER_SHIFT & tag == wanted)
