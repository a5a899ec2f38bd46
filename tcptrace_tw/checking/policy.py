"""The policy file as a model: every key with its type and its meaning; the JSON Schema is made of it.

Imported only where there is a policy: building the models takes a while.
"""

import re
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tcptrace_tw.checking.waivers import Network, Waiver
from tcptrace_tw.errors import hint
from tcptrace_tw.protocol.profiles import PROFILES
from tcptrace_tw.report.checks.checked import Threshold
from tcptrace_tw.rules import RULES
from tcptrace_tw.schema.columns import Column
from tcptrace_tw.schema.words import CONFIDENCE, SEVERITY
from tcptrace_tw.settings import known_profile, number_of, numbers_of, rule_words, two_msl

_LONGEST_NS = (1 << 63) - 1024
_PORTS = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?")
_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ns|us|ms|s|min)")

_BAR = f"^(never|({'|'.join(SEVERITY.words)})(:({'|'.join(CONFIDENCE.words)}))?)$"

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)

Amount = int | str
"""A number, or a span of time as in ``"50 ms"``."""


class Between(BaseModel):
    """The values of one number that are reported."""

    model_config = _STRICT

    min: Amount | None = Field(None, description="Lower values are not reported.")
    max: Amount | None = Field(None, description="Higher values are not reported.")


class IgnoreFor(BaseModel):
    """Findings to leave out: those that match hosts, ports and rules, as far as these are given."""

    model_config = _STRICT

    hosts: list[str] = Field([], description="Addresses or networks, as in 192.0.2.7 or 10.0.0.0/8: either endpoint.")
    ports: list[int | str] = Field([], description='Ports or ranges, as in 443 or "8000-8099": either endpoint.')
    rules: list[str] = Field([], description="Rule ids or prefixes, as in RS or RU010.")
    reason: str = Field("", description="The reason, for readers of the policy.")
    until: date | None = Field(None, description="The last day on which it applies.")

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            try:
                Network.parse(host)
            except ValueError as error:
                raise ValueError(f"{host} is neither an address nor a network") from error
        return hosts

    @field_validator("ports")
    @classmethod
    def _ports(cls, ports: list[int | str]) -> list[int | str]:
        for port in ports:
            port_range(port)
        return ports

    @field_validator("rules")
    @classmethod
    def _rules(cls, rules: list[str]) -> list[str]:
        return list(rule_words(rules))

    @model_validator(mode="after")
    def _names_something(self) -> "IgnoreFor":
        if not (self.hosts or self.ports or self.rules):
            raise ValueError("name hosts, ports or rules; otherwise it would leave out every finding")
        return self


class Policy(BaseModel):
    """The rules of a check, and the findings that count."""

    model_config = _STRICT

    select: list[str] = Field([], description="Apply only these rules: ids or prefixes, as in RU or LA001.")
    ignore: list[str] = Field([], description="Do not apply these rules.")
    fail_on: str = Field(
        "error:likely",
        description="The threshold: SEVERITY[:CONFIDENCE], or never.",
        json_schema_extra={"pattern": _BAR},
    )
    show: str = Field(
        "notice", description="The lowest severity that is shown.", json_schema_extra={"enum": [*SEVERITY.words]}
    )
    profile: str = Field(
        "linux",
        description="The TCP stack of the hosts, with its 2MSL.",
        json_schema_extra={"enum": [profile.name for profile in PROFILES]},
    )
    two_msl: float | None = Field(
        None,
        description="2MSL in seconds, instead of the profile's.",
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 3600},
    )
    baseline: str | None = Field(None, description="File of known findings; its path is relative to the policy file.")
    severities: dict[str, str] = Field(
        {},
        description="Rule id or prefix: the severity of its findings.",
        json_schema_extra={"additionalProperties": {"enum": [*SEVERITY.words]}},
    )
    thresholds: dict[str, dict[str, Amount | Between]] = Field(
        {},
        description="Rule id: one of its numbers: the lowest value that counts, or min and max."
        ' Durations are nanoseconds, or text such as "50 ms".',
        json_schema_extra={"propertyNames": {"enum": [rule.id for rule in RULES]}},
    )
    ignore_for: list[IgnoreFor] = Field([], description="Findings that do not count, by host, port or rule.")

    @field_validator("select", "ignore")
    @classmethod
    def _known(cls, rules: list[str]) -> list[str]:
        return list(rule_words(rules))

    @field_validator("two_msl", mode="before")
    @classmethod
    def _two_msl(cls, seconds: Any) -> float | None:
        return two_msl(seconds)

    @field_validator("fail_on")
    @classmethod
    def _bar(cls, text: str) -> str:
        Threshold.parse(text, "fail_on")
        return text

    @field_validator("show")
    @classmethod
    def _severity(cls, text: str) -> str:
        return known(text, SEVERITY.words)

    @field_validator("profile")
    @classmethod
    def _profile(cls, text: str) -> str:
        return known_profile(text)

    @field_validator("severities")
    @classmethod
    def _severities(cls, severities: dict[str, str]) -> dict[str, str]:
        found = {}
        for rule, text in severities.items():
            words = rule_words(rule)
            found.update(dict.fromkeys(words, known(text, SEVERITY.words, f"{rule} = ")))
        return found

    @field_validator("thresholds")
    @classmethod
    def _thresholds(cls, thresholds: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for rule, bounds in thresholds.items():
            numbers_of(rule.upper())
            for name, bound in bounds.items():
                column = number_of(rule.upper(), name)
                for amount in (bound.min, bound.max) if isinstance(bound, Between) else (bound,):
                    in_units(amount, column)
        return {rule.upper(): bounds for rule, bounds in thresholds.items()}

    @property
    def bounds(self) -> tuple[tuple[str, str, int | None, int | None], ...]:
        """Rule, column, least and most."""
        found = []
        for rule, bounds in self.thresholds.items():
            for name, bound in bounds.items():
                column = number_of(rule, name)
                least, most = (bound.min, bound.max) if isinstance(bound, Between) else (bound, None)
                found.append((rule, name, in_units(least, column), in_units(most, column)))
        return tuple(found)

    @property
    def waivers(self) -> tuple[Waiver, ...]:
        """``ignore_for``, in its order."""
        return tuple(
            Waiver(
                number,
                tuple(Network.parse(host) for host in entry.hosts),
                tuple(port_range(port) for port in entry.ports),
                tuple(entry.rules),
                entry.reason,
                entry.until,
            )
            for number, entry in enumerate(self.ignore_for, 1)
        )


def known(word: str, words: Any, before: str = "") -> str:
    """The word; ``ValueError`` with a suggestion if it is none of those."""
    if word not in words:
        raise ValueError(f"{before}{word!r}: {hint(word, words)}")
    return word


def in_units(amount: Amount | None, column: Column) -> int | None:
    """A number as it stands in the column; ``"50 ms"`` in ns. ``ValueError`` for what is neither."""
    if amount is None or isinstance(amount, int):
        return amount
    match = _SPAN.fullmatch(amount)
    if match is None or column.kind != "ns":
        span = ', or a duration such as "50 ms"' if column.kind == "ns" else ""
        raise ValueError(f"{column.name} = {amount!r}: write a whole number{span}")
    length_ns = float(match[1]) * _UNITS[match[2]]
    if length_ns > _LONGEST_NS:
        raise ValueError(f"{column.name} = {amount[:20]!r}: is longer than a capture can be; write a shorter one")
    return int(length_ns)


def port_range(port: int | str) -> range:
    """``443`` or ``"8000-8099"``; ``ValueError`` for anything else."""
    first, dash, last = str(port).partition("-")
    if _PORTS.fullmatch(str(port)) is None:
        raise ValueError(f"{port!r} is neither a port nor a range of ports")
    ports = range(int(first), int(last if dash else first) + 1)
    if not ports or ports[-1] > 65535:
        raise ValueError(f"{port!r} is neither a port nor a range of ports")
    return ports
