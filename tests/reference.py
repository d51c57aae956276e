"""Recurrent cells in plain NumPy with gradients derived by hand: an oracle beside the library.

Everything is float64, written from the papers' equations, with Python loops over time and over the
batch, and without jax. A masked step is never computed (not computed and then dropped), so nothing
in the padding can reach a result. A gradient is backpropagation through time, derived by hand; the
tests check it by finite differences.

Conventions: parameters are the fields `w_ih (I, G*H)`, `w_hh (H, G*H)`, `b (G*H,)` and, for the
GRU, `b_hn (H,)` of any NamedTuple; gates i, f, g, o (LSTM) and r, z, n (GRU); the state is `h`, or
`(h, c)` for the LSTM; time is axis 0.

A reset returns to the cell's initial state, which is zero for these cells, not to the state that an
unroll was given: so a packed sequence equals its parts, and a sequence may be cut in two anywhere.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
State = Any  # h, or (h, c), or tuples of these for layers


class Params(NamedTuple):
    """Parameters of one cell, or their gradients; `b_hn` is None where the cell has none."""

    w_ih: Array
    w_hh: Array
    b: Array
    b_hn: Array | None = None


class Cell(NamedTuple):
    """A cell: how many arrays its state has, its step, and the step's vector-Jacobian product."""

    state_size: int
    step: Callable[[Params, State, Array], tuple[State, Array]]
    backward: Callable[[Params, State, Array, State, Array], tuple[Params, State, Array]]


def as_params(params: Any) -> Params:
    """Copies the fields of any parameter NamedTuple to float64 NumPy."""
    b_hn = getattr(params, "b_hn", None)
    return Params(
        np.array(params.w_ih, np.float64),
        np.array(params.w_hh, np.float64),
        np.array(params.b, np.float64),
        None if b_hn is None else np.array(b_hn, np.float64),
    )


def as_state(state: State) -> State:
    """Copies a state to float64 NumPy; tuples of any type become plain tuples."""
    if isinstance(state, tuple):
        return tuple(as_state(part) for part in state)
    return np.array(state, np.float64)


def error(actual: Any, expected: Any) -> float:
    """Returns the largest error of any array, relative to the largest entry of that array.

    `expected` is Params, an array, None, or tuples of these; fields are compared by name.
    """
    if expected is None:
        return 0.0 if actual is None else np.inf
    if isinstance(expected, Params):
        pairs = [(getattr(actual, f, None), getattr(expected, f)) for f in Params._fields]
        return float(np.max([error(a, e) for a, e in pairs]))
    if isinstance(expected, tuple):
        return float(np.max([error(a, e) for a, e in zip(actual, expected, strict=True)]))
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if actual.shape != expected.shape:
        raise AssertionError(f"shape {actual.shape}, expected {expected.shape}")
    scale = np.max(np.abs(expected), initial=0.0) or 1.0
    return float(np.max(np.abs(actual - expected), initial=0.0) / scale)  # NaN stays NaN


def sigmoid(a: Array) -> Array:
    """Returns 1 / (1 + exp(-a))."""
    return 1.0 / (1.0 + np.exp(-a))


def relu(a: Array) -> Array:
    """Returns max(a, 0)."""
    return np.maximum(a, 0.0)


def _columns(a: Array, parts: int) -> list[Array]:
    return np.split(a, parts, axis=-1)


# ------------------------------------------------------------------ cells
DERIVATIVES: dict[Callable[[Array], Array], Callable[[Array], Array]] = {
    np.tanh: lambda a: 1.0 - np.tanh(a) ** 2,
    relu: lambda a: (a > 0.0).astype(np.float64),
    sigmoid: lambda a: sigmoid(a) * (1.0 - sigmoid(a)),
    np.sin: np.cos,
}


def elman(
    activation: Callable[[Array], Array] = np.tanh,
    derivative: Callable[[Array], Array] | None = None,
) -> Cell:
    """Makes the simple recurrent cell, h' = activation(x W + h U + b).

    `derivative` is needed only for gradients, and only for an activation that DERIVATIVES lacks.
    """

    def preactivation(params, h, x):
        return x @ params.w_ih + h @ params.w_hh + params.b

    def step(params, h, x):
        h = activation(preactivation(params, h, x))
        return h, h

    def backward(params, h, x, d_h, d_y):
        slope = (derivative or DERIVATIVES[activation])(preactivation(params, h, x))
        d_a = (d_h + d_y) * slope
        gradient = Params(np.outer(x, d_a), np.outer(h, d_a), d_a)
        return gradient, params.w_hh @ d_a, params.w_ih @ d_a

    return Cell(1, step, backward)


def lstm() -> Cell:
    """Makes the LSTM cell, c' = f c + i g and h' = o tanh(c')."""

    def gates(params, h, x):
        i, f, g, o = _columns(x @ params.w_ih + h @ params.w_hh + params.b, 4)
        return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)

    def step(params, state, x):
        h, c = state
        i, f, g, o = gates(params, h, x)
        c = f * c + i * g
        h = o * np.tanh(c)
        return (h, c), h

    def backward(params, state, x, d_state, d_y):
        h, c = state
        d_h_next, d_c_next = d_state
        i, f, g, o = gates(params, h, x)
        tanh_c = np.tanh(f * c + i * g)
        d_h_next = d_h_next + d_y
        d_c_next = d_c_next + d_h_next * o * (1.0 - tanh_c**2)
        d_a = np.concatenate(
            [
                d_c_next * g * i * (1.0 - i),
                d_c_next * c * f * (1.0 - f),
                d_c_next * i * (1.0 - g**2),
                d_h_next * tanh_c * o * (1.0 - o),
            ]
        )
        gradient = Params(np.outer(x, d_a), np.outer(h, d_a), d_a)
        return gradient, (params.w_hh @ d_a, d_c_next * f), params.w_ih @ d_a

    return Cell(2, step, backward)


def gru(reset: str = "after") -> Cell:
    """Makes the GRU cell, h' = (1 - z) n + z h; the reset gate acts after or before h U_n.

    after: n = tanh(x W_n + b_n + r (h U_n + b_hn)); before: n = tanh(x W_n + b_n + (r h) U_n).
    """
    if reset not in ("after", "before"):
        raise ValueError(f"reset is {reset!r}, not 'after' or 'before'")

    def gates(params, h, x):
        x_r, x_z, x_n = _columns(x @ params.w_ih + params.b, 3)
        u_r, u_z, u_n = _columns(params.w_hh, 3)
        r, z = sigmoid(x_r + h @ u_r), sigmoid(x_z + h @ u_z)
        share = r * (h @ u_n + params.b_hn) if reset == "after" else (r * h) @ u_n
        return r, z, np.tanh(x_n + share)

    def step(params, h, x):
        _, z, n = gates(params, h, x)
        h = (1.0 - z) * n + z * h
        return h, h

    def backward(params, h, x, d_h_next, d_y):
        r, z, n = gates(params, h, x)
        u_r, u_z, u_n = _columns(params.w_hh, 3)
        d_h_next = d_h_next + d_y
        d_n = d_h_next * (1.0 - z) * (1.0 - n**2)
        d_z = d_h_next * (h - n) * z * (1.0 - z)
        d_h = d_h_next * z
        if reset == "after":
            d_share = d_n * r  # of h U_n + b_hn
            d_r = d_n * (h @ u_n + params.b_hn) * r * (1.0 - r)
            d_h = d_h + u_n @ d_share
            d_u_n, d_b_hn = np.outer(h, d_share), d_share
        else:
            d_gated = u_n @ d_n  # of r h
            d_r = d_gated * h * r * (1.0 - r)
            d_h = d_h + d_gated * r
            d_u_n, d_b_hn = np.outer(r * h, d_n), None
        d_h = d_h + u_r @ d_r + u_z @ d_z
        d_a = np.concatenate([d_r, d_z, d_n])
        d_w_hh = np.concatenate([np.outer(h, d_r), np.outer(h, d_z), d_u_n], axis=1)
        return Params(np.outer(x, d_a), d_w_hh, d_a, d_b_hn), d_h, params.w_ih @ d_a

    return Cell(1, step, backward)


# ------------------------------------------------------------------ over time
def length_mask(seq_lengths: Any, steps: int) -> Array:
    """Returns the mask (T, *batch) that is True where t < length."""
    lengths = np.asarray(seq_lengths)
    mask = np.zeros((steps, *lengths.shape), bool)
    for index in np.ndindex(lengths.shape):
        mask[(slice(0, lengths[index]), *index)] = True
    return mask


def initial_state(cell: Cell, params: Any, batch_shape: tuple[int, ...] = ()) -> State:
    """Returns the zero state."""
    zeros = [np.zeros((*batch_shape, np.shape(params.w_hh)[0])) for _ in range(cell.state_size)]
    return tuple(zeros) if cell.state_size > 1 else zeros[0]


def _at(state: State, index: tuple[int, ...]) -> State:
    """Picks the state of one sequence of the batch."""
    return tuple(part[index] for part in state) if isinstance(state, tuple) else state[index]


def _put(state: State, index: tuple[int, ...], value: State) -> None:
    for part, one in zip(
        *((state, value) if isinstance(state, tuple) else ((state,), (value,))), strict=True
    ):
        part[index] = one


def _flags(flags: Any, shape: tuple[int, ...], default: bool) -> Array:
    flags = np.full(shape, default) if flags is None else np.asarray(flags)
    if flags.shape != shape or flags.dtype != bool:
        raise ValueError(f"flags are {flags.dtype}{flags.shape}, not bool{shape}")
    return flags


def _run(cell, params, xs, state, mask, resets):
    """Runs one sequence; also returns the state each step started from."""
    ys, before = np.zeros((len(xs), params.w_hh.shape[0])), []
    for t in range(len(xs)):
        if resets[t]:
            state = initial_state(cell, params)
        before.append(state)
        if mask[t]:
            state, ys[t] = cell.step(params, state, xs[t])
    return state, ys, before


def unroll(
    cell: Cell, params: Any, xs: Array, state: State = None, *, mask: Any = None, resets: Any = None
) -> tuple[State, Array]:
    """Runs a cell over xs (T, *batch, I) and returns the final state and ys (T, *batch, H).

    A reset acts before x_t is consumed, on a masked step too; a masked step holds the state and
    outputs zeros.
    """
    params, xs, shape = as_params(params), np.asarray(xs, np.float64), np.shape(xs)[:-1]
    mask, resets = _flags(mask, shape, True), _flags(resets, shape, False)
    final = initial_state(cell, params, shape[1:]) if state is None else as_state(state)
    ys = np.zeros((*shape, params.w_hh.shape[0]))
    for index in np.ndindex(shape[1:]):
        every = (slice(None), *index)
        end, ys[every], _ = _run(
            cell, params, xs[every], _at(final, index), mask[every], resets[every]
        )
        _put(final, index, end)
    return final, ys


def backprop(
    cell: Cell,
    params: Any,
    xs: Array,
    state: State,
    d_state: State,
    d_ys: Array,
    *,
    mask: Any = None,
    resets: Any = None,
) -> tuple[Params, Array, State]:
    """Returns the gradients (params, xs, state) of <d_ys, ys> + <d_state, final state>, by hand."""
    params, xs, shape = as_params(params), np.asarray(xs, np.float64), np.shape(xs)[:-1]
    mask, resets = _flags(mask, shape, True), _flags(resets, shape, False)
    state = initial_state(cell, params, shape[1:]) if state is None else as_state(state)
    d_params = Params(*(None if p is None else np.zeros_like(p) for p in params))
    d_xs, d_first, d_last = np.zeros_like(xs), as_state(state), as_state(d_state)
    for index in np.ndindex(shape[1:]):
        every = (slice(None), *index)
        _, _, before = _run(cell, params, xs[every], _at(state, index), mask[every], resets[every])
        d_now = _at(d_last, index)
        for t in reversed(range(shape[0])):
            here = (t, *index)
            if mask[here]:
                d_p, d_now, d_xs[here] = cell.backward(
                    params, before[t], xs[here], d_now, np.asarray(d_ys)[here]
                )
                d_params = Params(
                    *(None if s is None else s + p for s, p in zip(d_params, d_p, strict=True))
                )
            if resets[here]:
                d_now = initial_state(cell, params)
        _put(d_first, index, d_now)
    return d_params, d_xs, d_first


# ------------------------------------------------------------------ layers
class Layer(NamedTuple):
    """A map of sequences: its value and its gradient, called as `unroll` and `backprop` are."""

    initial_state: Callable[..., State]
    apply: Callable[..., tuple[State, Array]]
    backprop: Callable[..., tuple[Any, Array, State]]


def layer(cell: Cell) -> Layer:
    """Makes one layer of a cell."""

    def start(params, batch_shape=()):
        return initial_state(cell, params, batch_shape)

    def apply(params, xs, state=None, **flags):
        return unroll(cell, params, xs, state, **flags)

    def back(params, xs, state, d_state, d_ys, **flags):
        return backprop(cell, params, xs, state, d_state, d_ys, **flags)

    return Layer(start, apply, back)


def stack(*layers: Layer) -> Layer:
    """Feeds the outputs of each layer to the next; params and state are tuples in order."""

    def start(params, batch_shape=()):
        return tuple(
            one.initial_state(p, batch_shape) for one, p in zip(layers, params, strict=True)
        )

    def apply(params, xs, state=None, **flags):
        state = start(params, np.shape(xs)[1:-1]) if state is None else state
        finals = []
        for one, p, s in zip(layers, params, state, strict=True):
            final, xs = one.apply(p, xs, s, **flags)
            finals.append(final)
        return tuple(finals), xs

    def back(params, xs, state, d_state, d_ys, **flags):
        state = start(params, np.shape(xs)[1:-1]) if state is None else state
        inputs = [xs]
        for one, p, s in zip(layers[:-1], params[:-1], state[:-1], strict=True):
            inputs.append(one.apply(p, inputs[-1], s, **flags)[1])
        d_params, d_first = [], []
        for k in reversed(range(len(layers))):
            d_p, d_ys, d_s = layers[k].backprop(
                params[k], inputs[k], state[k], d_state[k], d_ys, **flags
            )
            d_params.insert(0, d_p)
            d_first.insert(0, d_s)
        return tuple(d_params), d_ys, tuple(d_first)

    return Layer(start, apply, back)


def reverse(inner: Layer) -> Layer:
    """Runs a layer from the last time to the first, with its outputs aligned with the input.

    A reset before t parts t - 1 from t, so backwards it comes before t - 1; a reset before 0 parts
    nothing.
    """

    def flip(mask=None, resets=None):
        if resets is not None:
            resets = np.concatenate([np.zeros_like(resets[:1]), np.flip(resets[1:], 0)])
        return {"mask": None if mask is None else np.flip(mask, 0), "resets": resets}

    def apply(params, xs, state=None, **flags):
        final, ys = inner.apply(params, np.flip(xs, 0), state, **flip(**flags))
        return final, np.flip(ys, 0)

    def back(params, xs, state, d_state, d_ys, **flags):
        d_params, d_xs, d_first = inner.backprop(
            params, np.flip(xs, 0), state, d_state, np.flip(d_ys, 0), **flip(**flags)
        )
        return d_params, np.flip(d_xs, 0), d_first

    return Layer(inner.initial_state, apply, back)


def bidirectional(forward: Layer, backward: Layer) -> Layer:
    """Runs one layer forwards and one backwards and joins their outputs along the features."""
    ways = (forward, reverse(backward))

    def start(params, batch_shape=()):
        return tuple(way.initial_state(p, batch_shape) for way, p in zip(ways, params, strict=True))

    def apply(params, xs, state=None, **flags):
        state = start(params, np.shape(xs)[1:-1]) if state is None else state
        finals, ys = zip(
            *(way.apply(p, xs, s, **flags) for way, p, s in zip(ways, params, state, strict=True)),
            strict=True,
        )
        return finals, np.concatenate(ys, axis=-1)

    def back(params, xs, state, d_state, d_ys, **flags):
        state = start(params, np.shape(xs)[1:-1]) if state is None else state
        width = forward.apply(params[0], xs, state[0], **flags)[1].shape[-1]
        halves = (d_ys[..., :width], d_ys[..., width:])
        d_params, d_xs, d_first = zip(
            *(
                way.backprop(p, xs, s, d_s, d_y, **flags)
                for way, p, s, d_s, d_y in zip(ways, params, state, d_state, halves, strict=True)
            ),
            strict=True,
        )
        return d_params, d_xs[0] + d_xs[1], d_first

    return Layer(start, apply, back)
