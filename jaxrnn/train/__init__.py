"""Training on optax: losses, a step, a loop, checkpoints."""

from jaxrnn.train.checkpoint import CheckpointError as CheckpointError
from jaxrnn.train.checkpoint import Loaded as Loaded
from jaxrnn.train.checkpoint import checkpoint_info as checkpoint_info
from jaxrnn.train.checkpoint import load_checkpoint as load_checkpoint
from jaxrnn.train.checkpoint import save_checkpoint as save_checkpoint
from jaxrnn.train.fit import FitResult as FitResult
from jaxrnn.train.fit import fit as fit
from jaxrnn.train.fit import sampled as sampled
from jaxrnn.train.interrupt import Interrupted as Interrupted
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
    "CheckpointError",
    "FitResult",
    "Interrupted",
    "Loaded",
    "Metrics",
    "Monitor",
    "Monitored",
    "TrainState",
    "checkpoint_info",
    "cross_entropy",
    "fit",
    "flow_monitor",
    "init",
    "load_checkpoint",
    "make_step",
    "next_token_loss",
    "sampled",
    "save_checkpoint",
    "squared_error",
]
