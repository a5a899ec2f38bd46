"""A bound for the number of groups: dashboards show only part of a long list, and nothing may be lost silently."""

from collections.abc import Sequence
from typing import NamedTuple

from tcptrace_tw.report.checks.checked import Entry, Group
from tcptrace_tw.report.words.phrases import counted


class Item(NamedTuple):
    """One line of a dashboard: a group, or the rest of a rule's groups."""

    rule: str
    name: str
    subject: str
    fingerprint: str
    entries: list[Entry]
    worst: Entry
    groups: int

    @property
    def text(self) -> str:
        """The worst finding's sentence, and how many more there are."""
        more = len(self.entries) - 1
        if self.groups > 1:
            rest = f"{counted(len(self.entries), 'finding')} in {counted(self.groups, 'more group')} of hosts"
            return f"{rest}; the worst: {self.worst.message}"
        return f"{self.worst.message} (and {more:,} more)" if more else self.worst.message


def folded(groups: Sequence[Group], most: int) -> list[Item]:
    """Groups, the worst first; where there are more than ``most``, the rest of each rule is one item.

    There are as many items at the most as ``most``, or one for each rule if that is more.
    """
    if len(groups) <= most:
        return [_item(group) for group in groups]
    room = max(0, most - len({group.rule for group in groups}))
    rest: dict[str, list[Group]] = {}
    for group in groups[room:]:
        rest.setdefault(group.rule, []).append(group)
    return [*(_item(group) for group in groups[:room]), *(_rest(each) for each in rest.values())]


def _item(group: Group) -> Item:
    return Item(group.rule, group.name, group.subject, group.fingerprint, group.entries, group.worst, 1)


def _rest(groups: list[Group]) -> Item:
    if len(groups) == 1:
        return _item(groups[0])
    entries = [entry for group in groups for entry in group.entries]
    whole = Group(groups[0].rule, groups[0].name, "more", entries)
    return Item(whole.rule, whole.name, whole.subject, whole.fingerprint, entries, whole.worst, len(groups))
