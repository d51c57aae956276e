"""Plots: arrays in, matplotlib figure and axes out. Needs the extra ``jaxrnn[report]``."""

from jaxrnn.plots.decay import plot_decay as plot_decay
from jaxrnn.plots.style import cell_colors as cell_colors
from jaxrnn.plots.style import new_axes as new_axes
from jaxrnn.plots.training import plot_training as plot_training

__all__ = ["cell_colors", "new_axes", "plot_decay", "plot_training"]
