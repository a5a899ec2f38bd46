"""Reads filters: the words of pcap-filter(7) that everybody types, over whole connections.

``host net port portrange src dst tcp ip ip6 vlan and or not && || ! ( )``, and values without a word, which take the
words of the value before them: ``src port 80 or 443``. As in pcap-filter, ``and`` and ``or`` bind equally, from left to
right, ``not`` binds closest, and ``src`` and ``dst`` are sender and receiver of a segment. A connection has segments of
both directions, and is kept when the expression holds for either: ``src host A`` keeps all that A sends in.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from tcptrace_tw.capture.filter_tests import (
    Ends,
    Mask,
    Network,
    Test,
    both,
    chain,
    everything,
    family,
    negated,
    network,
    ports,
    vlan,
)
from tcptrace_tw.errors import UsageError, nearest, printable
from tcptrace_tw.schema.scope import VLAN_MASK

DEPTH_MAX = 100
"""Parentheses and ``not`` inside each other."""


class Filter:
    """An expression over segments, ready to be asked; picklable by its text."""

    def __init__(self, text: str, option: str = "--filter") -> None:
        self.text = text
        self._option = option
        self._test = parse(text, option)

    def __reduce__(self) -> tuple[type[Filter], tuple[str, str]]:
        return Filter, (self.text, self._option)

    def keeps(self, batch: Any) -> Mask:
        """Which segments of a batch belong to connections that are kept: the same answer for both directions."""
        return Ends(*(getattr(batch, name) for name in Ends._fields[:-1])).either_way(self._test)


class Token(NamedTuple):
    """A word of an expression and where it begins."""

    text: str
    at: int


ReadWord = Callable[["Parser"], Test]
"""Reads what follows a word that pcap-filter does not have."""


def parse(text: str, option: str = "--filter", more: Mapping[str, ReadWord] | None = None) -> Test:
    """The test that an expression means; ``UsageError`` marks what is wrong in it.

    ``more`` has the words that are understood beside those of pcap-filter.
    """
    return Parser(text, option, more or {}).parse()


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
PCAP_WORDS = (*_PROTOCOLS, *_KINDS, "src", "dst", "vlan", "not", *_OTHER_WORDS)
"""With which an expression may begin, or with which one that is wrong does."""

CONNECTION_WORDS = {
    "state": "is about connections, not about segments; use --filter",
    "opened": "is about connections, not about segments; use --filter",
    "closed": "is about connections, not about segments; use --filter",
    "finding": "is a word of list, show and export; here use --select",
}
"""What is said of words about connections where they have no meaning."""


class Parser:
    """A Pratt parser: ``_expression`` reads operators, ``_operand`` what stands between them."""

    def __init__(self, text: str, option: str, more: Mapping[str, ReadWord]) -> None:
        self._text = text
        self._option = option
        self._more = more
        self._tokens = [Token(m[0], m.start()) for m in re.finditer(r"[()!]|&&?|\|\|?|[^\s()&|!]+", text)]
        self._next = 0
        self._depth = 0
        self._words: _Words | None = None
        self._are_values_only = False

    def parse(self) -> Test:
        """The test of the whole text; an empty one keeps everything."""
        if not self._tokens:
            return everything
        test = self._expression()
        if self._next < len(self._tokens):
            self.fail(
                self._tokens[self._next],
                "a ) without a matching (" if self.peek() == ")" else "'and' or 'or' is missing",
            )
        return test

    def _expression(self) -> Test:
        operands: list[tuple[str, Test]] = [("", self._operand())]
        while self.peek() in ("and", "or"):
            operator = self.peek()
            self._next += 1
            operands.append((operator, self._operand()))
        return operands[0][1] if len(operands) == 1 else chain(operands)

    def _operand(self) -> Test:
        token = self.take("a value is missing at the end")
        word = _word(token)
        if word in ("not", "("):
            self._depth += 1
            if self._depth > DEPTH_MAX:
                self.fail(token, f"more than {DEPTH_MAX} levels of nesting")
            test = negated(self._operand()) if word == "not" else self._group(token)
            self._depth -= 1
            return test
        if word in (")", "and", "or"):
            self.fail(token, "a value is missing here")
        if word in ("&", "|"):
            self.fail(token, f"did you mean {word}{word}?")
        if word == "vlan":
            return self._vlan()
        if word in self._more:
            return self._more[word](self)
        self._next -= 1
        return self._primitive()

    def _group(self, opening: Token) -> Test:
        test = self._expression()
        if self.peek() != ")":
            where = self._tokens[self._next] if self._next < len(self._tokens) else opening
            self.fail(where, "its ) is missing" if where is opening else "and, or or ) is missing")
        self._next += 1
        return test

    def _vlan(self) -> Test:
        number = _number(self.peek())
        if number is None:
            return vlan(None)
        token = self.take("")
        if number > VLAN_MASK:
            self.fail(token, f"a VLAN id is at most {VLAN_MASK}")
        return vlan(number)

    def _primitive(self) -> Test:
        """``[protocol] [side] [kind] value``; a value alone takes the words of the one before it."""
        first = self._next
        words = _Words(self._one_of(_PROTOCOLS), self._side(), self._one_of(_KINDS))
        if self._next == first:
            return self._value(self._words or words, has_words=False)
        if self._are_values_only:
            self.fail(self._tokens[first], "only values are allowed in these parentheses")
        if not (words.side or words.kind) and self.peek() in ("", ")", "and", "or"):
            return family(words.protocol)
        if self.peek() == "(":
            return self._values(words)
        return self._value(words, has_words=bool(words.kind))

    def _values(self, words: _Words) -> Test:
        """``port (80 or 443)``: the words before the parentheses go for all values inside."""
        self._words, self._are_values_only = words, True
        test = self._group(self.take(""))
        self._are_values_only = False
        return test

    def _side(self) -> str:
        side = self._one_of(("src", "dst"))
        if side and self.peek() in ("and", "or") and self.peek(1) in ("src", "dst"):
            side = f"{side} {self.peek()} {self.peek(1)}"
            self._next += 2
        return side

    def _value(self, words: _Words, *, has_words: bool) -> Test:
        token = self.take(f"a value is missing after {self._tokens[-1].text}")
        if _word(token) in (*_WORDS, *self._more, *_SYNONYMS.values(), ")", "(", "&", "|"):
            self.fail(token, "a value is missing before this")
        self._words = words
        kind = words.kind or ("net" if "/" in token.text else "host")
        if kind == "port":
            test = ports(words.side, *[self._port(token, token.text)] * 2)
        elif kind == "portrange":
            test = self._portrange(words.side, token)
        elif kind == "net":
            test = network(words.side, self._net(token))
        else:
            test = network(words.side, self._host(token, has_words=has_words))
        return test if words.protocol in ("", "tcp") else both(family(words.protocol), test)

    def _port(self, token: Token, text: str) -> int:
        number = _number(text)
        if number is not None:
            if number > 65535:
                self.fail(token, "a port is at most 65535")
            return number
        if re.fullmatch(r"\d+-\d+", text):
            self.fail(token, f"did you mean portrange {text}?")
        try:
            return socket.getservbyname(text, "tcp")
        except (OSError, ValueError):
            self.fail(token, "no port has this name; give the number")

    def _portrange(self, side: str, token: Token) -> Test:
        low, dash, high = token.text.partition("-")
        first = self._port(token, low)
        last = self._port(token, high) if dash else first
        return ports(side, min(first, last), max(first, last))

    def _host(self, token: Token, *, has_words: bool) -> Network:
        if "/" in token.text:
            self.fail(token, f"did you mean net {token.text}?")
        try:
            return ipaddress.ip_network(token.text)
        except ValueError:
            pass
        word = token.text.lower()
        if word in _OTHER_WORDS:
            self.fail(token, _OTHER_WORDS[word])
        if word in CONNECTION_WORDS:
            self.fail(token, CONNECTION_WORDS[word])
        if not has_words and word.isdecimal():
            self.fail(token, f"did you mean port {word}?")
        if not has_words and (near := nearest(word, (*_WORDS, *self._more))):
            self.fail(token, f"did you mean {near}?")
        return self.fail(token, "is not an address, and names are not looked up")

    def _net(self, token: Token) -> Network:
        """``10.0.0.0/8``, ``10.0.0.0 mask 255.0.0.0``, or the first bytes alone: ``10``, ``10.1``."""
        text = token.text
        if self.peek() == "mask":
            self._next += 1
            text += f"/{self.take('the mask is missing').text}"
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
            return self.fail(token, "is not a network; write it like 10.0.0.0/8")
        return self.fail(token, f"has bits set outside the mask; did you mean {meant}?")

    def _one_of(self, words: Sequence[str]) -> str:
        word = self.peek()
        if word in words:
            self._next += 1
            return word
        return ""

    def peek(self, ahead: int = 0) -> str:
        """The next word as keywords are compared, which stays; nothing at the end."""
        at = self._next + ahead
        return _word(self._tokens[at]) if at < len(self._tokens) else ""

    def take(self, missing: str) -> Token:
        """The next word; ``missing`` says what is wrong where there is none."""
        if self._next == len(self._tokens):
            self.fail(Token("", len(self._text.rstrip())), missing)
        self._next += 1
        return self._tokens[self._next - 1]

    def fail(self, token: Token, reason: str) -> NoReturn:
        """``UsageError`` that marks the word."""
        name = f"{token.text}: " if token.text else ""
        marks = " " * len(printable(self._text[: token.at])) + "^" * max(1, len(printable(token.text)))
        raise UsageError(f"{self._option}: {name}{reason}", f"  {self._text}", f"  {marks}")


def _word(token: Token) -> str:
    """The token as a keyword is compared."""
    word = token.text.lower()
    return _SYNONYMS.get(word, word)


def _number(text: str) -> int | None:
    """The number that the digits make, None where there are others; one that is far too large is cut off."""
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text.lstrip("0")[:20] or "0")
