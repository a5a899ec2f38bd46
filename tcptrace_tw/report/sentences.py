"""What the pages for people say alike: how sure and how often, what it cost, and how many ports are left."""

from tcptrace_tw.report.digest import RuleDigest
from tcptrace_tw.report.phrases import counted, span, tally
from tcptrace_tw.report.pressure import PortUse
from tcptrace_tw.report.text import duration_text
from tcptrace_tw.spec.words import CONFIDENCE, SEVERITY


def grades_text(rule: RuleDigest) -> str:
    """``7 times: error 5, warning 2; confirmed 6, likely 1``, or just ``confirmed``."""
    if rule.count == 1:
        return rule.confidence
    severities = f": {tally(rule.severities, reversed(SEVERITY.words))}" if len(rule.severities) > 1 else ""
    mixed = len(rule.confidences) > 1
    sure = tally(rule.confidences, reversed(CONFIDENCE.words)) if mixed else rule.confidence
    return f"{rule.count:,} times{severities}{';' if severities else ','} {sure}"


def cost_text(rule: RuleDigest) -> str:
    """``2.081 s together, 1.028 s at most, known of 5 of 7``."""
    together, most = duration_text(rule.cost_ns or 0), duration_text(rule.cost_most_ns or 0)
    part = f", known of {rule.cost_known:,} of {rule.count:,}" if rule.cost_known < rule.count else ""
    return f"{together} together, {most} at most{part}"


def port_use_text(use: PortUse) -> str:
    """How many ports were in use, how many are left, and whether they will do at this pace."""
    if use.is_every_port_seen:
        many = f"all {use.used:,} ports from {use.lowest} to {use.highest}"
        used = f"its one port {use.lowest}" if use.used == 1 else many
    else:
        used = f"at most {counted(use.used, 'port')} from {use.lowest} to {use.highest}"
    text = f"{use.ip} to {use.service}: {used} in use at once"
    text += f"; {use.left:,} of {use.size:,} left if its range is {use.range_first} to {use.range_last}"
    if use.per_second is None:
        return text
    pace = f"{use.per_second:{',.0f' if use.per_second >= 10 else '.2g'}} closes a second"
    if use.full_after_s is not None:
        return f"{text}, and {pace} use it up in {span(round(use.full_after_s * 1e9))}"
    return f"{text}; {pace} keep {use.levels_off_at:,} busy"
