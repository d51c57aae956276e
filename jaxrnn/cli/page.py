"""The report's page: one HTML file that needs no other."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["make_page", "make_table"]

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

_CAPTIONS = {
    "comparison.png": (
        "All networks side by side",
        "The largest singular value of the Jacobian of the last state with respect to the state "
        "<i>lag</i> steps earlier: by how much a small change of an old state can still move the "
        "last one. A straight line on this scale is exponential decay; the flatter, the longer the "
        "network's memory can be trained. Median over the measured sequences.",
    ),
    "loss_gradient.png": (
        "What reaches the loss",
        "The gradient of the last step's loss with respect to the state <i>lag</i> steps earlier: "
        "what training feels. It can fall faster than the curve above: a direction in which the "
        "state is well remembered need not be one that the loss can see, such as an LSTM's memory "
        "cell so large that its tanh is saturated.",
    ),
    "decay.png": (
        "Each network beside its bound",
        "Solid: measured, median over sequences, band from the 10th to the 90th percentile. "
        "Dashed: exp(rate · lag) with the fitted rate. Grey: an upper bound, which leaves the "
        "picture where it is far above. For the plain network it is (dotted) "
        "that of Pascanu et al. (2013), (γ σ<sub>max</sub>(W<sub>hh</sub>))<sup>lag</sup>; a gated "
        "cell has a second path for the state, of which that theorem does not speak, so there the "
        "grey line is the product of the norms of all steps' Jacobians along the sequence.",
    ),
    "training.png": (
        "Training",
        "Left: the loss, beside a baseline without memory. Right: the norm of the whole gradient "
        "before clipping; steps above the dotted line were scaled down to it.",
    ),
}


def make_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns an HTML table of texts."""

    def line(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"


def _figure(name: str, picture: bytes) -> str:
    title, caption = _CAPTIONS[name]
    data = base64.b64encode(picture).decode("ascii")
    return (
        f'<h2>{title}</h2><figure><div class="wide"><img alt="{html.escape(title)}" '
        f'src="data:image/png;base64,{data}"></div><figcaption>{caption}</figcaption></figure>'
    )


def make_page(
    *,
    title: str,
    lead: str,
    found: Sequence[str],
    table: tuple[Sequence[str], Sequence[Sequence[str]]],
    pictures: Mapping[str, bytes],
    settings: Mapping[str, Any],
) -> str:
    """Returns the report as one HTML page, pictures included.

    Args:
      title: the heading, plain text.
      lead: what was done, plain text.
      found: sentences of the result, plain text.
      table: header and rows, plain text.
      pictures: from a file name, one that has a caption here, to a PNG file.
      settings: what the numbers depend on; shown as a list.
    """
    rows = "".join(
        f"<tr><td>{html.escape(str(key))}</td><td>{html.escape(str(value))}</td></tr>"
        for key, value in settings.items()
    )
    sentences = "".join(f"<p>{html.escape(one)}</p>" for one in found)
    figures = "".join(_figure(name, picture) for name, picture in pictures.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{html.escape(title)}</h1>
<p class="lead">{html.escape(lead)}</p>
<div class="found">{sentences}</div>
<h2>In numbers</h2>
<div class="wide">{make_table(*table)}</div>
<p>The <b>rate</b> is the slope of the logarithm of ‖∂s<sub>T</sub>/∂s<sub>T−lag</sub>‖ against the
lag, in nats per step, ± one standard error over the measured sequences: negative where gradients
vanish, positive where they explode. The <b>half-life</b>, ln 2 / |rate|, is the number of steps
over which the gradient halves. The <b>dL/ds half-life</b> is the same for the gradient of the last
step's loss. <b>Clipped</b> is the share of training steps whose gradient was scaled down,
<b>skipped</b> the number of steps left out because loss or gradient was not finite.</p>
{figures}
<h2>How it was measured</h2>
<p>Every network is one recurrent layer and an affine readout, trained by backpropagation through
time with Adam and clipping of the gradient's norm; all networks see the same batches. The Jacobian
products are exact (reverse mode along the trajectory), with a power of two taken out at every step,
so that they neither overflow nor underflow, in full matrix precision and with derivatives of tanh
and the logistic function that stay right where these saturate.</p>
<h2>Settings</h2>
<div class="wide"><table class="settings"><tbody>{rows}</tbody></table></div>
<p>All numbers are in <code>report.json</code> beside this page.</p>
</body></html>
"""
