"""One page that needs nothing but itself: light and dark, narrow and wide, on a screen and on paper."""

from __future__ import annotations

import html
import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .blocks import Block, Figure, Section, Table, show

__all__ = ["page", "svg"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1d21; --soft: #595e68; --paper: #ffffff; --panel: #f4f5f7;
  --line: #d5d8de; --accent: #0a5c94; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaee; --soft: #a9afba; --paper: #14161a; --panel: #1e2127;
  --line: #363b45; --accent: #7cc0f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: clamp(1.4rem, 4vw, 2rem); line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; overflow-wrap: anywhere; }
.strong { font-size: 1.15rem; line-height: 1.45; border-left: .3rem solid var(--accent); padding: .4rem 0 .4rem .9rem;
  margin: 1.25rem 0; max-width: 52rem; }
code, .code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .9em;
  overflow-wrap: anywhere; }
.code { display: block; background: var(--panel); padding: .35rem .7rem; border-radius: .3rem; margin: .3rem 0;
  white-space: pre-wrap; }
figure { margin: 1.25rem 0; }
figure svg { display: block; width: 100%; max-width: 46rem; height: auto; color: var(--ink); fill: currentColor; }
figcaption, caption { color: var(--soft); font-size: .9rem; text-align: left; }
figcaption { margin-top: .3rem; }
caption { padding-bottom: .4rem; }
.box { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; min-width: 9rem; }
tbody tr:first-child th { font-weight: 700; }
td.number { white-space: nowrap; }
summary { cursor: pointer; color: var(--accent); margin: .75rem 0; }
a { color: var(--accent); }
@media screen and (max-width: 40rem) {
  figure svg { min-width: 34rem; }
  table, tbody, tr, td, th, caption { display: block; width: 100%; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { border: 1px solid var(--line); border-radius: .3rem; padding: .4rem .6rem; margin: 0 0 .6rem; }
  tbody th { border: 0; padding: 0 0 .2rem; font-weight: 700; min-width: 0; }
  td { border: 0; padding: .1rem 0; display: flex; justify-content: space-between; gap: 1rem; }
  td::before { content: attr(data-label); color: var(--soft); }
  td.number { white-space: normal; text-align: right; }
  td:empty { display: none; }
}
@media print {
  :root { --ink: #000000; --soft: #444444; --paper: #ffffff; --panel: #f2f2f2; --line: #bbbbbb; --accent: #000000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, tr, .strong { break-inside: avoid; }
  h2, caption { break-after: avoid; }
  .box { overflow: visible; }
  table { font-size: 6.5pt; }
  td.number { white-space: normal; }
  th, td { padding-right: .35rem; }
  tbody th { min-width: 0; }
}
"""


def page(title: str, lead: Sequence[Block], sections: Sequence[Section]) -> str:
    """Return the whole page.

    Parameters
    ----------
    title : str
        Its heading.
    lead : sequence of Block
        What stands before the first section.
    sections : sequence of Section
        The rest.
    """
    body = [f"<h1>{html.escape(title)}</h1>", *map(_block, lead)]
    for section in sections:
        inside = "\n".join(map(_block, section.blocks))
        heading = html.escape(section.title)
        if section.folded:
            body.append(f"<details><summary>{heading}</summary>\n{inside}\n</details>")
        else:
            body.append(f"<section>\n<h2>{heading}</h2>\n{inside}\n</section>")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Figure):
        drawn = _box(block.name, svg(block.drawn(), block.name, block.alt))
        return f"<figure>\n{drawn}\n<figcaption>{html.escape(block.caption)}</figcaption>\n</figure>"
    if isinstance(block, Table):
        return _table(block)
    text = html.escape(block.text)
    if block.kind == "code":
        return f'<code class="code">{text}</code>'
    return f'<p class="strong">{text}</p>' if block.kind == "strong" else f"<p>{text}</p>"


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    rows = []
    for name, cells in table.rows:
        each = []
        for column, cell in zip(table.columns[1:], cells, strict=True):
            kind = "" if isinstance(cell, str) else ' class="number"'
            shown = html.escape(show(cell, column in table.signed))
            each.append(f'<td{kind} data-label="{html.escape(column)}">{shown}</td>')
        rows.append(f'<tr><th scope="row">{html.escape(name)}</th>{"".join(each)}</tr>')
    caption = f"<caption>{html.escape(table.caption)}</caption>"
    body = "\n".join(rows)
    inside = f"<table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    return _box(table.name, inside)


def _box(name: str, inside: str) -> str:
    """Return what scrolls by itself, with keys too, where it is wider than the page."""
    return f'<div class="box" tabindex="0" role="region" aria-label="{html.escape(name)}">{inside}</div>'


def svg(figure: Any, name: str, alt: str) -> str:
    """Return a figure as inline SVG that takes the colour of the text around it, the same bytes every time."""
    import matplotlib

    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        for axis in figure.axes:
            axis.patch.set_alpha(0)
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = drawn.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Black is the colour of the text; ids of one figure must not be those of another on the page.
    text = re.sub(r"#000000\b", "currentColor", text)
    seen: Counter[str] = Counter()  # equal images have equal ids, which nothing refers to

    def unique(match: re.Match[str]) -> str:
        seen[match[1]] += 1
        again = f"-{seen[match[1]]}" if seen[match[1]] > 1 else ""
        return f'id="{name}-{match[1]}{again}"'

    text = re.sub(r'\bid="([^"]*)"', unique, text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", text)
    label = html.escape(alt)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1).strip()
