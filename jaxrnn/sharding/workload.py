"""The work of a training step, and the share of it that one device of a mesh has."""

import math
from typing import NamedTuple

from jaxrnn.core.checks import check_size

__all__ = ["Network", "Share", "Split"]


class Network(NamedTuple):
    """A stack of recurrent layers, as sizes.

    Run by `fused_unroll` an Elman layer has 1 gate and keeps 2 vectors, a GRU 3 and 5, an LSTM 4
    and 6; run by `unroll` an LSTM keeps 16. A minGRU, a `Linear` cell, has 2 gates that read no
    state, ``recurrent=False``, and by `associative_unroll` keeps 12.

    Attributes:
      inputs: I, features of the input.
      hidden: H, units of every layer.
      layers: L.
      gates: G, vectors of H numbers that the products give at a step.
      kept: vectors of H numbers that a step keeps for the backward pass.
      recurrent: whether the state is multiplied by a matrix at every step.
      itemsize: b, bytes a number.
      optimizer_copies: numbers that the optimiser keeps for each parameter; Adam keeps 2.
    """

    inputs: int
    hidden: int
    layers: int = 1
    gates: int = 4
    kept: int = 6
    recurrent: bool = True
    itemsize: int = 4
    optimizer_copies: int = 2


class Share(NamedTuple):
    """What one device has to do, the first of the devices where they differ.

    Attributes:
      batch: sequences.
      steps: time steps.
      hidden: units of a layer.
      whole_hidden: units of a layer on all devices.
      gates: G.
      kept: vectors that a step keeps for the backward pass.
      layer_inputs: features of the input of each of its layers.
      has_first: whether the first of these is the first of all.
      recurrent_rows: rows of a recurrent matrix; 0 where there is none.
      parameters: numbers.
    """

    batch: int
    steps: int
    hidden: int
    whole_hidden: int
    gates: int
    kept: int
    layer_inputs: tuple[int, ...]
    has_first: bool
    recurrent_rows: int
    parameters: int


class Split(NamedTuple):
    """How many devices split what.

    Attributes:
      data: the batch.
      model: hidden units.
      time: time steps.
      stages: layers.
    """

    data: int = 1
    model: int = 1
    time: int = 1
    stages: int = 1

    @property
    def devices(self) -> int:
        """All devices."""
        return math.prod(self)

    def share(self, network: Network, *, batch: int, steps: int, by: str) -> Share:
        """Returns the share of a device that has most to do.

        Args:
          network: the layers.
          batch: B, sequences in all.
          steps: T.
          by: the function the user called, for messages.

        Raises:
          TypeError: a size is no integer.
          ValueError: a size is less than 1, does not divide, or does not go with another.
        """
        given = {"batch": batch, "steps": steps, **self._asdict()}
        numbers = ("inputs", "hidden", "layers", "gates", "kept", "itemsize")
        given |= {name: getattr(network, name) for name in numbers}
        for name, value in given.items():
            check_size(name, value, by=by)
        pairs = {"data": "batch", "model": "hidden", "time": "steps", "stages": "layers"}
        for name, whole in pairs.items():
            if given[whole] % given[name]:
                msg = (
                    f"{by}: got {name}={given[name]} for {whole}={given[whole]}; expected a "
                    f"divisor; change {name} or {whole}"
                )
                raise ValueError(msg)
        if self.time > 1 and network.recurrent:
            msg = (
                f"{by}: got time={self.time} for recurrent layers, whose steps follow each other; "
                "expected Linear ones; pass a Network with recurrent=False, or time=1"
            )
            raise ValueError(msg)
        if self.time > 1 and self.stages > 1:
            msg = (
                f"{by}: got time={self.time} and stages={self.stages}; expected one of them, since "
                "both split time; pass time=1 or stages=1"
            )
            raise ValueError(msg)
        hidden, layers = network.hidden // self.model, network.layers // self.stages
        # Of several stages one without the first layer has most to do, if the input is narrow.
        first = self.stages == 1 or network.inputs > network.hidden
        inputs = (network.inputs if first else network.hidden, *[network.hidden] * (layers - 1))
        rows = network.hidden if network.recurrent else 0
        parameters = sum(network.gates * hidden * (one + rows + 1) for one in inputs)
        return Share(
            batch // self.data, steps // self.time, hidden, network.hidden, network.gates,
            network.kept, inputs, first, rows, parameters,
        )  # fmt: skip
