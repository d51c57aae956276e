"""A page of results: one HTML file that needs no other."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Figure", "make_page", "make_table"]

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; color: #1d1d1f; background: #fff;
       max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .5rem; }
p, li { max-width: 46rem; }
.lead { color: #555; margin-top: 0; }
.found { border-left: 4px solid #0072B2; background: #f3f7fb; padding: .6rem 1rem; }
.found p { margin: .35rem 0; }
.wide { overflow-x: auto; }
.wide + .wide { margin-top: 1.4rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .35rem .8rem .35rem 0; text-align: right; white-space: nowrap;
         border-bottom: 1px solid #e3e3e6; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; color: #444; }
figure { margin: 1.2rem 0; }
img { width: 100%; min-width: 40rem; height: auto; }
figcaption { color: #444; font-size: .93rem; max-width: 46rem; }
code { background: #f4f4f6; padding: .1em .3em; border-radius: 3px; overflow-wrap: anywhere; }
.settings td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.settings td:first-child { white-space: nowrap; }
"""


class Figure(NamedTuple):
    """A picture of a page.

    Attributes:
      title: plain text.
      caption: HTML: what is drawn.
      numbers: plain text: what one sees, in numbers; may be empty.
      picture: a PNG file.
    """

    title: str
    caption: str
    numbers: str
    picture: bytes


def make_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns an HTML table of texts."""

    def line(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"


def _figure(figure: Figure) -> str:
    title = html.escape(figure.title)
    data = base64.b64encode(figure.picture).decode("ascii")
    numbers = f"<br><b>In numbers.</b> {html.escape(figure.numbers)}" if figure.numbers else ""
    return (
        f'<h2>{title}</h2><figure><div class="wide"><img alt="{title}" '
        f'src="data:image/png;base64,{data}"></div>'
        f"<figcaption>{figure.caption}{numbers}</figcaption></figure>"
    )


def make_page(
    *,
    title: str,
    lead: str,
    found: Sequence[str],
    tables: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]],
    explanation: str,
    figures: Sequence[Figure],
    method: str,
    settings: Mapping[str, Any],
    numbers: str,
) -> str:
    """Returns the results as one HTML page, pictures included.

    Args:
      title: the heading, plain text.
      lead: what was done, plain text.
      found: sentences of the result, plain text.
      tables: header and rows of each, plain text.
      explanation: of the tables, HTML.
      figures: in order.
      method: how it was measured, HTML.
      settings: what the numbers depend on; shown as a list.
      numbers: name of the file beside the page that holds all numbers.
    """
    rows = "".join(
        f"<tr><td>{html.escape(str(key))}</td><td>{html.escape(str(value))}</td></tr>"
        for key, value in settings.items()
    )
    sentences = "".join(f"<p>{html.escape(one)}</p>" for one in found)
    shown = "".join(f'<div class="wide">{make_table(*table)}</div>' for table in tables)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{html.escape(title)}</h1>
<p class="lead">{html.escape(lead)}</p>
<div class="found">{sentences}</div>
<h2>In numbers</h2>
{shown}
<p>{explanation}</p>
{"".join(map(_figure, figures))}
<h2>How it was measured</h2>
<p>{method}</p>
<h2>Settings</h2>
<div class="wide"><table class="settings"><tbody>{rows}</tbody></table></div>
<p>All numbers are in <code>{html.escape(numbers)}</code> beside this page.</p>
</body></html>
"""
