"""What a training step costs on many devices: a model of bytes, flops, memory and seconds."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from jaxrnn.core.checks import check_size
from jaxrnn.sharding.exchanges import Exchange, list_exchanges
from jaxrnn.sharding.machines import Device
from jaxrnn.sharding.workload import Network, Share, Split

__all__ = ["Cost", "best_splits", "pays_up_to", "training_cost"]

_BY = "training_cost"


class Cost(NamedTuple):
    """One training step, as one of the devices sees it.

    Attributes:
      split: how the work is split.
      blocks: how many blocks of time a pipeline works in; 1 without one.
      flops: of the matrix products, forward and backward.
      memory: bytes of parameters, gradients, optimiser, inputs, and what the backward pass reads.
      exchanges: what it sends to others; each is a kind of collective.
      product_seconds: in products over all time steps at once.
      step_seconds: in what goes step by step, or along the tree of a parallel scan.
      exchange_seconds: in sending and receiving.
      bubble_seconds: in which a stage of a pipeline waits for the others.
      fits: whether the memory is enough.
    """

    split: Split
    blocks: int
    flops: float
    memory: float
    exchanges: tuple[Exchange, ...]
    product_seconds: float
    step_seconds: float
    exchange_seconds: float
    bubble_seconds: float
    fits: bool

    @property
    def seconds(self) -> float:
        """The whole step: nothing of it overlaps, which makes it an upper bound in this respect."""
        parts = self.product_seconds, self.step_seconds, self.exchange_seconds
        return sum(parts) + self.bubble_seconds

    @property
    def bytes_sent(self) -> float:
        """The bytes that the device sends."""
        return sum(one.times * one.bytes_sent for one in self.exchanges)

    @property
    def collectives(self) -> int:
        """How many collectives are executed."""
        return sum(one.times for one in self.exchanges)

    def __str__(self):
        lines = [
            f"{self.split}: {1e3 * self.seconds:.3g} ms a step, of these "
            f"{1e3 * self.product_seconds:.3g} products, {1e3 * self.step_seconds:.3g} steps, "
            f"{1e3 * self.exchange_seconds:.3g} exchange, {1e3 * self.bubble_seconds:.3g} bubble",
            f"  {self.flops:.3g} flops and {self.memory / 1e9:.3g} GB on a device"
            + ("" if self.fits else ", which has less memory"),
        ]
        return "\n".join([*lines, *(f"  {one}" for one in self.exchanges)])


def _flops(share: Share) -> float:
    """Flops of all products of a training step on one device: three times those of the outputs.

    Of the first layer no gradient of the inputs is asked for.
    """
    rows = share.batch * share.steps
    total = 0.0
    for inputs in share.layer_inputs:
        total += 3 * 2 * rows * share.gates * share.hidden * (inputs + share.recurrent_rows)
    if share.has_first:
        total -= 2 * rows * share.gates * share.hidden * share.layer_inputs[0]
    return total


def _memory(share: Share, network: Network, split: Split, blocks: int) -> float:
    """Bytes: parameters, gradients and optimiser; what each step leaves for the backward pass.

    A step keeps some vectors of H numbers, and one more is the gradient of its output; tensor
    parallel splits them, but has the inputs of every layer but the first whole, and as XLA compiles
    it twice, and the gradient of one of them. A pipeline keeps something for the ticks in which it
    waits, too, and has inputs, outputs and their gradient beside.
    """
    copies = 2 + network.optimizer_copies
    rows = share.batch * share.steps
    kept = len(share.layer_inputs) * rows * (share.kept + 1) * share.hidden
    if split.stages > 1:
        kept += 3 * rows * share.whole_hidden
        kept = kept * (blocks + split.stages - 1) // blocks
    kept += rows * share.layer_inputs[0]
    above = len(share.layer_inputs) - share.has_first
    if share.whole_hidden > share.hidden and above:
        kept += rows * share.whole_hidden * (2 * above + 1)
    return network.itemsize * (copies * share.parameters + kept)


def _step_seconds(
    share: Share, network: Network, device: Device, split: Split, blocks: int
) -> float:
    """Seconds of all steps, forward and backward.

    A recurrent step multiplies B / d rows by H x G H / m weights, which it reads again:

        t = t_overhead + max(2 B/d H G H/m / P, bytes(H G H/m) / memory bandwidth)

    A scan over the maps of a Linear cell goes up and down a tree of 2 log2(T/n) levels, and reads
    and writes two numbers a unit and step about four times; a pipeline does so for each block. Then
    each device applies the maps of the n devices one after the other.
    """
    layers = len(share.layer_inputs)
    if network.recurrent:
        numbers = share.whole_hidden * share.gates * share.hidden
        flops = 2 * share.batch * numbers / device.flops
        read = network.itemsize * numbers / device.memory_bandwidth
        return 2 * layers * share.steps * (device.step_overhead + max(flops, read))
    levels = 2 * blocks * math.ceil(math.log2(max(share.steps // blocks, 2)))
    levels += split.time if split.time > 1 else 0
    moved = 4 * 2 * network.itemsize * share.batch * share.steps * share.hidden
    return 2 * layers * (levels * device.step_overhead + moved / device.memory_bandwidth)


def _product_seconds(share: Share, network: Network, device: Device, flops: float) -> float:
    """Seconds of the products over all steps at once, and of reading and writing gates and states.

    These are all products but the recurrent ones forward and backward, which the steps make.
    """
    rows = share.batch * share.steps
    layers = len(share.layer_inputs)
    if network.recurrent:
        flops -= 2 * 2 * layers * rows * share.gates * share.hidden * share.whole_hidden
    width = share.kept * share.hidden + share.whole_hidden
    moved = 4 * network.itemsize * layers * rows * width
    return max(flops / device.flops, moved / device.memory_bandwidth)


def training_cost(
    network: Network,
    device: Device,
    *,
    batch: int,
    steps: int,
    data: int = 1,
    model: int = 1,
    time: int = 1,
    stages: int = 1,
    blocks: int | None = None,
) -> Cost:
    """Predicts what one training step costs on a mesh of devices.

    The formulas count from first principles; with B sequences of T steps, L layers of H units and
    G gates, b bytes a number, W parameters, on ``d = data``, ``m = model``, ``n = time`` and
    ``s = stages`` devices each device

    - computes ``6 B/d T/n G H/m (I + H)`` flops for each of its L/s layers, less the gradient of
      the first layer's inputs;
    - sends for data and time parallel ``2 (g - 1)/g b W/(m s)`` bytes once, the gradients, where
      g = d n;
    - for tensor parallel, at every step and layer, ``(m - 1)/m b B/d H`` bytes forward (all gather
      h) and as many backward (reduce and scatter its gradient); of all steps at once as many again
      for the gradient of the recurrent weights, and three times as many for the inputs of all
      layers but the first; and twice its weights, which are brought into units and back;
    - for time parallel, in each layer and each of its two scans, one composed map of ``2 b B/d H``
      bytes, which all gather, and one state to its neighbour;
    - for a pipeline over K blocks of time ``b B/d T/K H`` bytes to its neighbour at each of
      ``K + s - 1`` ticks, forward and backward, of which it waits in ``s - 1``; and once the
      outputs of the last layer, ``2 (s - 1)/s b B/d T H``, and its weights.

    Where the seconds come from is said at `Device.gather_seconds` and in docs/scaling.md. Nothing
    overlaps, and nothing is slower than the device's numbers say: compare splits by this, and
    measure before you believe a number.

    Args:
      network: the layers.
      device: one of the accelerators, such as ``DEVICES["H200"]``, or numbers of your own.
      batch: B, sequences in all.
      steps: T.
      data: devices over which the batch is split.
      model: devices over which hidden units, and with them parameters and optimiser, are split.
      time: devices over which time is split, of layers of `Linear` cells.
      stages: devices over which layers are split, as a pipeline over blocks of time.
      blocks: K, blocks of time of the pipeline; the fastest number if not given.

    Returns:
      The cost, as one device sees it.

    Raises:
      TypeError: `network` is no `Network`, `device` no `Device`, or a size no integer.
      ValueError: a size is less than 1; `data` does not divide the batch, `model` the hidden size,
        `time` or `blocks` the steps, `stages` the layers; `time` is given for recurrent layers, or
        together with `stages`; `blocks` is given without `stages`.

    Example:
      >>> from jaxrnn.sharding import DEVICES, Network, training_cost
      >>> network = Network(inputs=512, hidden=2048, layers=2, gates=4, kept=6)
      >>> cost = training_cost(network, DEVICES["H200"], batch=256, steps=512, data=8)
      >>> [(one.kind, one.group_size, one.times) for one in cost.exchanges]
      [('all-reduce', 8, 1)]
      >>> cost.fits, cost.exchange_seconds < cost.step_seconds
      (True, True)

    Reference:
      S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
      multicore architectures", 2009: the larger of the times of computing and of reading.
    """
    for name, value, kind in (("network", network, Network), ("device", device, Device)):
        if not isinstance(value, kind):
            example = "Network(inputs=64, hidden=512)" if kind is Network else 'DEVICES["H200"]'
            msg = (
                f"{_BY}: got {name} of type {type(value).__name__}; expected jaxrnn.sharding."
                f"{kind.__name__}, which holds sizes; pass for example {example}"
            )
            raise TypeError(msg)
    split = Split(data, model, time, stages)
    share = split.share(network, batch=batch, steps=steps, by=_BY)
    if blocks is not None:
        check_size("blocks", blocks, by=_BY)
        if stages == 1 or steps % blocks:
            wrong = "without stages" if stages == 1 else f"for {steps} steps"
            msg = (
                f"{_BY}: got blocks={blocks} {wrong}; expected a divisor of the steps, with stages "
                "of 2 or more; change blocks"
            )
            raise ValueError(msg)
    choices = [blocks or 1]
    if stages > 1 and blocks is None:
        choices = [count for count in range(1, steps + 1) if steps % count == 0]
    found = (_cost(network, device, split, share, count) for count in choices)
    return min(found, key=lambda cost: cost.seconds)


def _cost(network: Network, device: Device, split: Split, share: Share, blocks: int) -> Cost:
    flops, memory = _flops(share), _memory(share, network, split, blocks)
    products = _product_seconds(share, network, device, flops)
    in_steps = _step_seconds(share, network, device, split, blocks)
    exchanges = list_exchanges(network, device, split, share, blocks)
    per_step = sum(one.times * one.seconds for one in exchanges if one.in_bubble)
    return Cost(
        split, blocks, flops, memory, exchanges, products, in_steps,
        sum(one.times * one.seconds for one in exchanges),
        (split.stages - 1) / blocks * (products + in_steps + per_step),
        memory <= device.memory,
    )  # fmt: skip


def _divisors(number: int, most: int) -> list[int]:
    return [n for n in range(1, min(number, most) + 1) if number % n == 0]


def _splits(network: Network, batch: int, steps: int, most: int) -> Iterator[Split]:
    for data in _divisors(batch, most):
        for model in _divisors(network.hidden, most // data):
            left = most // (data * model)
            yield from (Split(data, model, 1, n) for n in _divisors(network.layers, left))
            if not network.recurrent:
                times = _divisors(steps, left)[1:]
                yield from (Split(data, model, n, 1) for n in times)


def best_splits(
    network: Network, device: Device, devices: int, *, batch: int, steps: int, count: int = 5
) -> tuple[Cost, ...]:
    """Ranks the ways to split a training step over so many devices, or fewer.

    Args:
      network: the layers.
      device: one of the accelerators.
      devices: how many there are.
      batch: B, sequences in all.
      steps: T.
      count: how many ways to return at most.

    Returns:
      The fastest by `training_cost` that fit in memory, the fastest first; of equally fast ones
      that with fewer devices first.

    Raises:
      TypeError: a size is no integer.
      ValueError: a size is less than 1; no split fits in memory.

    Example:
      >>> from jaxrnn.sharding import DEVICES, Network, best_splits
      >>> network = Network(inputs=256, hidden=1024, layers=4, gates=4, kept=6)
      >>> best = best_splits(network, DEVICES["H200"], 8, batch=64, steps=256)
      >>> best[0].split.devices <= 8, best[0].seconds <= best[1].seconds
      (True, True)
    """
    for name, value in (("devices", devices), ("batch", batch), ("steps", steps), ("count", count)):
        check_size(name, value, by="best_splits")
    found = [
        training_cost(network, device, batch=batch, steps=steps, **split._asdict())
        for split in _splits(network, batch, steps, devices)
    ]
    fitting = [cost for cost in found if cost.fits]
    if not fitting:
        least = min(cost.memory for cost in found)
        msg = (
            f"best_splits: got a network that takes {least / 1e9:.3g} GB on each of {devices} "
            f"devices at least; expected {device.memory / 1e9:.3g} GB or less; raise devices or "
            "lower batch, or keep less of each step (storage='outputs', checkpointed)"
        )
        raise ValueError(msg)
    return tuple(sorted(fitting, key=lambda cost: (cost.seconds, cost.split.devices))[:count])


def pays_up_to(
    kind: str, network: Network, device: Device, *, batch: int, steps: int, efficiency: float = 0.6
) -> int:
    """Finds how many devices one kind of parallelism alone is worth.

    Args:
      kind: "data", "model", "time" or "stages".
      network: the layers.
      device: one of the accelerators.
      batch: B, sequences in all.
      steps: T.
      efficiency: the part of n devices' worth that n devices have to give, above 0.

    Returns:
      The largest n among the numbers of devices that divide what is split with
      ``seconds(1) / seconds(n) >= efficiency n``, memory left aside.

    Raises:
      TypeError: a size is no integer.
      ValueError: `kind` is an unknown name, `efficiency` is not above 0, or "time" is asked for
        with recurrent layers.

    Example:
      >>> from jaxrnn.sharding import DEVICES, Network, pays_up_to
      >>> network = Network(inputs=64, hidden=64, gates=4, kept=6)
      >>> pays_up_to("model", network, DEVICES["H200"], batch=16, steps=100)
      1
    """
    lengths = {"data": batch, "model": network.hidden, "time": steps, "stages": network.layers}
    if kind not in lengths:
        msg = f"pays_up_to: got kind {kind!r}; expected one of {', '.join(lengths)}"
        raise ValueError(msg)
    if not efficiency > 0:
        msg = f"pays_up_to: got efficiency={efficiency}; expected a number above 0, such as 0.6"
        raise ValueError(msg)
    one = training_cost(network, device, batch=batch, steps=steps).seconds
    best = 1
    for count in _divisors(lengths[kind], lengths[kind]):
        cost = training_cost(network, device, batch=batch, steps=steps, **{kind: count})
        if one / cost.seconds >= efficiency * count:
            best = count
    return best
