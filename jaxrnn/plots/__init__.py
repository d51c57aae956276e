"""Plots: arrays in, matplotlib figure and axes out. Needs the extra ``jaxrnn[report]``."""

from jaxrnn.plots.contributions import plot_contributions as plot_contributions
from jaxrnn.plots.convergence import plot_convergence as plot_convergence
from jaxrnn.plots.decay import plot_decay as plot_decay
from jaxrnn.plots.eigenvalues import plot_eigenvalues as plot_eigenvalues
from jaxrnn.plots.fluctuations import plot_exponent_fluctuations as plot_exponent_fluctuations
from jaxrnn.plots.gates import plot_gate_anatomy as plot_gate_anatomy
from jaxrnn.plots.histogram import plot_histogram as plot_histogram
from jaxrnn.plots.lags import plot_lag_matrix as plot_lag_matrix
from jaxrnn.plots.monitor import plot_monitor as plot_monitor
from jaxrnn.plots.phase import plot_phase_diagram as plot_phase_diagram
from jaxrnn.plots.portrait import plot_fixed_points as plot_fixed_points
from jaxrnn.plots.singular import plot_qr_bias as plot_qr_bias
from jaxrnn.plots.singular import plot_singular_values as plot_singular_values
from jaxrnn.plots.spectra import plot_spectrum as plot_spectrum
from jaxrnn.plots.style import cell_colors as cell_colors
from jaxrnn.plots.style import new_axes as new_axes
from jaxrnn.plots.training import plot_training as plot_training

__all__ = [
    "cell_colors",
    "new_axes",
    "plot_contributions",
    "plot_convergence",
    "plot_decay",
    "plot_eigenvalues",
    "plot_exponent_fluctuations",
    "plot_fixed_points",
    "plot_gate_anatomy",
    "plot_histogram",
    "plot_lag_matrix",
    "plot_monitor",
    "plot_phase_diagram",
    "plot_qr_bias",
    "plot_singular_values",
    "plot_spectrum",
    "plot_training",
]
