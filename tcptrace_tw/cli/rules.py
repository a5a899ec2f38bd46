"""``tcptrace-tw rules``: the catalogue, a family of it, or one rule explained."""

from typing import Annotated

import typer

from tcptrace_tw.cli import complete, run
from tcptrace_tw.cli import options as o


@run.command
def rules(
    rule: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="Id or name of a rule, as in RU002, or a family, as in RU.",
            autocompletion=complete.rules,
            show_default=False,
        ),
    ] = None,
    color: o.ColorOption = o.Color.AUTO,
    debug: o.Debug = False,
) -> None:
    """List all rules or a family of them, or explain one: meaning, conditions, remedy, RFC."""
    from tcptrace_tw.report.pages import catalogue
    from tcptrace_tw.rules import RULES

    chosen = RULES if rule is None else catalogue.family(RULES, rule)
    if rule is None or chosen:
        catalogue.draw_all(chosen, run.console(color))
    else:
        catalogue.draw_one(catalogue.find(RULES, rule), run.console(color))
