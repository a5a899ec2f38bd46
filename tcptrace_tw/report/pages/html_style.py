"""How the HTML looks: one style sheet, light or dark as the reader's system is, and two small scripts."""

from html import escape

from tcptrace_tw.errors import printable

STYLE = """
.tw { --ink: #1d2126; --dim: #646c76; --line: #d9dde2; --soft: #f4f6f8; --back: #ffffff; --mark: #14717f;
  --error: #b3261e; --warning: #96308a; --notice: #14717f; --info: #646c76; --paste: #1e6b2d;
  color: var(--ink); background: var(--back); font: 15px/1.45 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { .tw { --ink: #dde1e6; --dim: #97a0ab; --line: #3a4048; --soft: #22262b;
  --back: #181b1f; --mark: #4fc3d3; --error: #ff8a80; --warning: #e59adb; --notice: #4fc3d3; --info: #97a0ab;
  --paste: #8fd19e; } }
.tw h1 { font-size: 1.35em; margin: 0 0 .6em; }
.tw h2 { font-size: 1.1em; margin: 1.8em 0 .5em; border-bottom: 1px solid var(--line); padding-bottom: .2em; }
.tw h3 { font-size: 1em; margin: 0; display: inline; }
.tw table { border-collapse: collapse; font-size: .93em; margin: .3em 0; }
.tw th, .tw td { text-align: left; vertical-align: top; padding: .18em .9em .18em 0; background: none; border: 0; }
.tw th { font-weight: 600; color: var(--dim); white-space: nowrap; }
.tw th[scope=row] { min-width: 6.2em; font-weight: 400; }
.tw thead th { border-bottom: 1px solid var(--line); }
.tw tbody tr { background: none; }
.tw .n, .tw .sortable td:nth-child(-n+5) { white-space: nowrap; }
.tw .n { text-align: right; font-variant-numeric: tabular-nums; }
.tw th button { all: unset; cursor: pointer; color: inherit; }
.tw th button:focus-visible { outline: 2px solid var(--mark); }
.tw th[aria-sort=ascending] button::after { content: " \\25B4"; }
.tw th[aria-sort=descending] button::after { content: " \\25BE"; }
.tw .error { color: var(--error); font-weight: 600; } .tw .warning { color: var(--warning); font-weight: 600; }
.tw .notice { color: var(--notice); font-weight: 600; } .tw .info, .tw .dim { color: var(--dim); }
.tw code, .tw pre, .tw .ladder { font: 13px/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
.tw code { color: var(--paste); overflow-wrap: anywhere; }
.tw details { border: 1px solid var(--line); border-radius: 6px; margin: .5em 0; background: var(--back); }
.tw details > summary { cursor: pointer; padding: .45em .8em; }
.tw details[open] > summary { border-bottom: 1px solid var(--line); background: var(--soft); }
.tw details.small { display: inline-block; font-size: .9em; border: 0; margin: 0; color: var(--dim); }
.tw details.small > summary { padding: .1em 0; background: none; border: 0; }
.tw a { color: var(--mark); }
.tw details > .body { padding: .5em .9em .8em; overflow-x: auto; }
.tw svg { display: block; max-width: 100%; height: auto; }
.tw svg text { font: 12px system-ui, sans-serif; fill: var(--dim); }
.tw svg .area { fill: var(--mark); fill-opacity: .25; }
.tw svg .edge { fill: none; stroke: var(--mark); stroke-width: 1.5; }
.tw svg .axis { stroke: var(--line); }
.tw .ladder { border-collapse: collapse; margin: .6em 0; white-space: nowrap; }
.tw .ladder td, .tw .ladder th { padding: .05em .6em; }
.tw .ladder .state { font-weight: 700; } .tw .ladder td.orig, .tw .ladder th.orig { text-align: right; }
.tw .ladder .note td { white-space: normal; max-width: 60em; padding-bottom: .35em; }
.tw .ladder .arrow { position: relative; text-align: center; min-width: 22em; }
.tw .arrow span { background: var(--back); position: relative; padding: 0 .6em; }
.tw .arrow.right::before, .tw .arrow.left::before { content: ""; position: absolute; left: .4em; right: .4em; top: 50%;
  border-top: 1px solid currentColor; }
.tw .arrow.right::after, .tw .arrow.left::after { content: ""; position: absolute; top: calc(50% - .33em);
  border: .33em solid transparent; }
.tw .arrow.right::after { right: 0; border-left-color: currentColor; border-right-width: 0; }
.tw .arrow.left::after { left: 0; border-right-color: currentColor; border-left-width: 0; }
.tw .other .arrow, .tw .arrow.none { color: var(--dim); }
"""

PAGE_STYLE = """
body { margin: 0; } .tw.page { max-width: 76em; margin: 0 auto; padding: 1.6em 1.6em 4em; }
@media (prefers-color-scheme: dark) { body { background: #181b1f; } }
"""

SCRIPT = """
document.querySelectorAll("table.sortable").forEach(function (table) {
  var body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach(function (head, index) {
    var button = document.createElement("button");
    button.textContent = head.textContent;
    head.textContent = "";
    head.appendChild(button);
    button.addEventListener("click", function () {
      var up = head.getAttribute("aria-sort") === "descending";
      table.querySelectorAll("thead th").forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      var rows = Array.from(body.rows);
      function key(row) {
        var cell = row.cells[index];
        return cell.dataset.key === undefined ? cell.textContent : Number(cell.dataset.key);
      }
      rows.sort(function (a, b) {
        var one = key(a), two = key(b);
        return (one < two ? -1 : one > two ? 1 : 0) * (up ? 1 : -1);
      });
      rows.forEach(function (row) { body.appendChild(row); });
    });
  });
});
function openTarget() {
  var target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") { target.open = true; }
}
window.addEventListener("hashchange", openTarget);
openTarget();
"""


def cell(body: str) -> str:
    """What a notebook shows: the style comes with it."""
    return f'<div class="tw"><style>{STYLE}</style>{body}</div>'


def page(title: str, body: str) -> str:
    """A whole page that needs nothing from outside."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}{PAGE_STYLE}</style>\n</head>\n"
        f'<body>\n<main class="tw page">\n{body}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n'
    )


def text(value: object) -> str:
    """A text that can do no harm in HTML."""
    return escape(printable(str(value)), quote=True)


def facts(rows: list[tuple[str, str]]) -> str:
    """Labels and what they say."""
    cells = "".join(f'<tr><th scope="row">{text(label)}</th><td>{text(said)}</td></tr>' for label, said in rows)
    return f"<table>{cells}</table>"
