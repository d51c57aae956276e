"""What a training step sends between devices, by the kind of parallelism that needs it."""

from typing import NamedTuple

from jaxrnn.sharding.collectives import share_sent
from jaxrnn.sharding.machines import Device
from jaxrnn.sharding.workload import Network, Share, Split

__all__ = ["Exchange", "list_exchanges"]


class Exchange(NamedTuple):
    """One kind of collective in a training step.

    Attributes:
      purpose: what is sent.
      kind: the collective, as `jaxrnn.sharding.Collective` names it.
      size: bytes of the larger of its operand and its result, on one device.
      group_size: devices that take part.
      times: how often it is executed.
      seconds: of one execution.
      in_bubble: whether a pipeline's wait is longer by it.
    """

    purpose: str
    kind: str
    size: int
    group_size: int
    times: int
    seconds: float
    in_bubble: bool

    @property
    def bytes_sent(self) -> float:
        """What a device sends at least, at one execution."""
        return share_sent(self.kind, self.group_size) * self.size

    def __str__(self):
        return (
            f"{self.purpose}: {self.kind} of {self.size:,} bytes, group of {self.group_size}, "
            f"{self.times:,} times {1e6 * self.seconds:.3g} us"
        )


def list_exchanges(
    network: Network, device: Device, split: Split, share: Share, blocks: int
) -> tuple[Exchange, ...]:
    """Lists the exchanges of a training step.

    Machines are filled along the axes in the order model, stages, time, data.

    Args:
      network: the layers.
      device: one of the devices.
      split: how many devices split what.
      share: the share of one device.
      blocks: K, blocks of time of a pipeline.

    Returns:
      The exchanges, without those in groups of one.
    """
    found = []
    layers = len(share.layer_inputs)
    state = network.itemsize * share.batch * share.whole_hidden

    def gathered(purpose, kind, size, group, times, inner, in_bubble=True):
        if group > 1 and times:
            halves = 2 if kind == "all-reduce" else 1
            seconds = halves * device.gather_seconds(size, group, inner)
            found.append(Exchange(purpose, kind, size, group, times, seconds, in_bubble))

    def sent(purpose, size, group, times, inner):
        if group > 1:
            seconds = device.send_seconds(size, group, inner)
            # The ticks of the bubble are counted in `times`.
            kind = "collective-permute"
            found.append(Exchange(purpose, kind, size, group, times, seconds, False))

    model = split.model
    every = state * share.steps
    if network.recurrent:
        times = layers * share.steps
        gathered("h of a step", "all-gather", state, model, times, 1)
        gathered("gradient of h of a step", "reduce-scatter", state, model, times, 1)
        gathered("h of all steps, for the weights", "all-gather", every, model, layers, 1)
    below = layers - share.has_first
    gathered("outputs of a layer", "all-gather", every, model, below, 1)
    gathered("gradient of a layer's inputs", "all-reduce", every, model, below, 1)
    weights = network.itemsize * share.parameters
    gathered("weights, into units and back", "all-to-all", weights, model, 2, 1, in_bubble=False)
    ticks = 2 * (blocks + split.stages - 1)
    own = network.itemsize * share.batch * share.hidden
    sent("outputs of a block", own * (share.steps // blocks), split.stages, ticks, model)
    stages = split.stages
    purpose = "outputs of the last layer, to all"
    gathered(purpose, "all-reduce", every, stages, 1, model, in_bubble=False)
    purpose = "weights, to their layer's device and back"
    gathered(purpose, "all-to-all", weights, stages, 2, model, in_bubble=False)
    inner = model * stages
    # A map is two numbers a unit, gathered one by one; a layer has a scan forward and one backward.
    maps = own * split.time
    gathered("composed maps of a scan", "all-gather", maps, split.time, 4 * layers, inner)
    sent("state at the edge of a stretch", own, split.time, 2 * layers, inner)
    group = split.data * split.time
    gathered("gradients of parameters", "all-reduce", weights, group, 1, inner, in_bubble=False)
    return tuple(found)
