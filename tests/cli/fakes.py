"""Reports with chosen numbers, and cells with chosen Jacobians, for the tests of the command."""

from html.parser import HTMLParser

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import train
from jaxrnn.cli import measure
from jaxrnn.cli.flows import Contributions, FlowReport, GatePaths, LagMap
from jaxrnn.cli.measure import CellReport, Curve, GradientReport, Rate, rate_of

LENGTH, SEQUENCES = 6, 4


def rate(value, stderr=0.01):
    """A rate; the half-life by another formula than the library's."""
    with np.errstate(divide="ignore"):
        return Rate(value, stderr, float(np.log(0.5) / np.float64(value)))


def curve(value, stderr=0.01, length=LENGTH):
    lags = np.arange(1, length + 1)[:, None]
    return Curve(np.broadcast_to(value * lags, (length, SEQUENCES)).copy(), rate(value, stderr))


def gradients(state, loss=None, length=LENGTH):
    """Both curves, from a rate each, or `Curve`s."""
    state = state if isinstance(state, Curve) else curve(state, length=length)
    loss = state if loss is None else loss if isinstance(loss, Curve) else curve(loss)
    bound = np.linspace(0.1, 1, length)
    return GradientReport(state, loss, bound, bound)


def make_report(name="elman", after=-0.1, *, stderr=0.01, before=-0.2, loss=-0.3, steps=4):
    """A report whose rates are these, after training with this standard error."""
    after = after if isinstance(after, Curve) else curve(after, stderr)
    losses = np.linspace(2.0, 1.0, steps)
    clipped, skipped = np.arange(steps) % 4 == 0, np.arange(steps) == steps - 1
    metrics = train.Metrics(losses, losses * 2, clipped, skipped)
    return CellReport(name, 1234, metrics, gradients(before), gradients(after, loss))


def make_flow(horizon=LENGTH + 1, carry_rate=-0.2, time_constant=4.0, length=LENGTH):
    """A flow of two sequences: norms of -0.1 a lag, equal shares of all lags."""
    lags = np.arange(1, length + 1)
    times = np.unique([1, (length + 1) // 2, length])
    share = np.full(length, 1 / length)
    return FlowReport(
        np.array([[-0.1, -0.5]] * 2),
        LagMap(times, lags, np.where(lags <= times[:, None], -0.1 * lags, np.nan)),
        GatePaths(
            *(np.full((length, 2), value) for value in (-0.05, -0.1, -1.0)),
            np.full((length, 2, 3), time_constant),
            carry_rate,
            -0.3,
        ),
        Contributions(lags - 1, share, np.cumsum(share), horizon),
    )


def leave_flows_out(patch):
    """Compiling them takes most of the time; where rates are tested they are not needed."""
    patch.setattr(measure, "measure_flow", lambda *_: None)
    patch.setattr(measure, "flow_report", lambda _: None)


class Fit:
    """Stands for `train.fit`: trains nothing, says what it was asked for, tells of two chunks."""

    def __init__(self, losses=(), end=None):
        self.losses, self.end = losses, end

    def __call__(self, loss_fn, params, optimizer, batch_fn, *, steps, **options):
        self.options = {"steps": steps, "params": params, **options}
        spec = jax.eval_shape(batch_fn, 0)
        carried = () if options["carried"] is None else (options["carried"],)
        jax.eval_shape(loss_fn, params, spec, *carried)
        loss, monitor = np.linspace(2, 1, steps, dtype=np.float32), options.get("monitor")
        flags = np.zeros(steps, bool)
        metrics = train.Metrics(loss, 2 * loss, flags, flags)
        done = 0
        for count in (steps // 2, steps - steps // 2):
            done += count
            part = train.Metrics(*(leaf[done - count : done] for leaf in metrics))
            options["on_chunk"](done, part)
            if self.end is not None:
                raise self.end
            if monitor is not None:
                jax.eval_shape(monitor.measure, params)
                measured = {"validation_loss": np.float32(self.losses[done])}
                other = jax.tree.map(lambda leaf, done=done: leaf + done, params)
                if options["stop_fn"](done, measured, other):
                    break
        state = train.TrainState(params, None, None, done, 0)
        return train.FitResult(state, train.Metrics(*(leaf[:done] for leaf in metrics)))


def measure_quickly(makes, task, *, steps, seed, on_chunk=None, **_):
    """Stands for `measure_cells`: draws a batch and trains nothing; the numbers depend on both."""
    for name in makes:
        batch = task.sample(jax.random.key(seed))
        assert batch.xs.shape[1] == batch.mask.shape[1]
        value = -0.01 * (1 + seed) - len(name) / 100
        report = make_report(name, value, steps=steps)
        if on_chunk is not None:
            on_chunk(name, steps, report.metrics)
        yield report


def zeros(hidden_size):
    return lambda params, batch_shape=(): jnp.zeros((*batch_shape, hidden_size))


def linear_cell(factor):
    """Makes ``h' = factor h + x W``, or row W[x] of tokens: the norm at a lag is factor**lag."""

    def make(input_size, hidden_size):
        def init(key):
            return jax.random.normal(key, (input_size, hidden_size))

        def step(params, h, x):
            h = factor * h + (params[x] if jnp.issubdtype(x.dtype, jnp.integer) else x @ params)
            return h, h

        return jaxrnn.Cell(init, zeros(hidden_size), step)

    return make


def entry(factor):
    return jaxrnn.CELLS["elman"]._replace(make=linear_cell(factor))


def combined(values):
    """The rate of one number a sequence, through the library."""
    values = np.asarray(values)
    return rate_of(values, np.full(values.shape, 0.5))


class Page(HTMLParser):
    """Reads a page: what it links to, its tables, its texts; fails where tags do not balance."""

    VOID = {"meta", "img", "br", "hr", "link", "input"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.links, self.images, self.tables, self.seen = [], [], [], [], []
        self.texts = {}
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("href", "src", "srcset") if name in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> inside {self.open}"
        self.open.pop()

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag][-1] += data
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
