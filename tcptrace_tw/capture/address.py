"""What may be shown of the address that a capture is fetched from."""

from __future__ import annotations

import re

CREDENTIALS = r"^([^/?#:@]*://)[^/?#]*@"

MISTAKEN = r"^([^/?#:@]*://)[^/?#:@\[]*:(?!\d*(?:[/?#]|$))[^@]*@"
"""Credentials with a character that ends the host: what looks like a port is the begin of a password."""


def without_password(uri: str) -> str:
    """The address as messages and reports may show it: without a user name and a password."""
    if "@" not in uri:
        return uri
    return re.sub(MISTAKEN, r"\1", re.sub(CREDENTIALS, r"\1", uri, count=1), count=1)
