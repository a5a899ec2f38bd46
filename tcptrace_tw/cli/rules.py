"""``tcptrace-tw rules``: the catalogue, or one rule explained."""

from typing import Annotated

import typer

from tcptrace_tw.cli import complete, run
from tcptrace_tw.cli import options as o


@run.command
def rules(
    rule: Annotated[
        str | None,
        typer.Argument(
            metavar="ID", help="Id or name of a rule, as in RU002.", autocompletion=complete.rules, show_default=False
        ),
    ] = None,
    color: o.ColorOption = o.Color.AUTO,
    debug: o.Debug = False,
) -> None:
    """List all rules, or explain one: meaning, conditions, remedy, RFC."""
    from tcptrace_tw.report.pages import catalogue
    from tcptrace_tw.rules import RULES

    if rule is None:
        catalogue.draw_all(RULES, run.console(color))
    else:
        catalogue.draw_one(catalogue.find(RULES, rule), run.console(color))
