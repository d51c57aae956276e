"""Training on optax: losses, a step, a loop."""

from jaxrnn.train.fit import FitResult as FitResult
from jaxrnn.train.fit import fit as fit
from jaxrnn.train.fit import sampled as sampled
from jaxrnn.train.losses import cross_entropy as cross_entropy
from jaxrnn.train.losses import next_token_loss as next_token_loss
from jaxrnn.train.losses import squared_error as squared_error
from jaxrnn.train.monitor import Monitor as Monitor
from jaxrnn.train.monitor import Monitored as Monitored
from jaxrnn.train.monitor import flow_monitor as flow_monitor
from jaxrnn.train.step import Metrics as Metrics
from jaxrnn.train.step import TrainState as TrainState
from jaxrnn.train.step import init as init
from jaxrnn.train.step import make_step as make_step

__all__ = [
    "FitResult",
    "Metrics",
    "Monitor",
    "Monitored",
    "TrainState",
    "cross_entropy",
    "fit",
    "flow_monitor",
    "init",
    "make_step",
    "next_token_loss",
    "sampled",
    "squared_error",
]
