"""Layers: functions from sequences to sequences, and layers made of layers."""

from jaxrnn.layers.combine import bidirectional as bidirectional
from jaxrnn.layers.combine import residual as residual
from jaxrnn.layers.combine import reverse as reverse
from jaxrnn.layers.combine import stack as stack
from jaxrnn.layers.dropout import DropoutState as DropoutState
from jaxrnn.layers.dropout import dropout as dropout
from jaxrnn.layers.dropout import seed_dropout as seed_dropout
from jaxrnn.layers.layer import Layer as Layer
from jaxrnn.layers.layer import layer as layer
from jaxrnn.layers.one_step import Stepper as Stepper
from jaxrnn.layers.pipelined import pipelined as pipelined
from jaxrnn.layers.readout import ReadoutParams as ReadoutParams
from jaxrnn.layers.readout import readout as readout
from jaxrnn.layers.streaming import stepper as stepper

__all__ = [
    "DropoutState",
    "Layer",
    "ReadoutParams",
    "Stepper",
    "bidirectional",
    "dropout",
    "layer",
    "pipelined",
    "readout",
    "residual",
    "reverse",
    "seed_dropout",
    "stack",
    "stepper",
]
