"""Mean-field theory of random recurrent networks: variances, growth of gradients, criticality."""

from jaxrnn.analysis.mean_field.critical import critical_gain as critical_gain
from jaxrnn.analysis.mean_field.elman import CriticalPoint as CriticalPoint
from jaxrnn.analysis.mean_field.elman import LyapunovExponents as LyapunovExponents
from jaxrnn.analysis.mean_field.elman import critical_line as critical_line
from jaxrnn.analysis.mean_field.elman import elman as elman
from jaxrnn.analysis.mean_field.elman import lyapunov_exponents as lyapunov_exponents
from jaxrnn.analysis.mean_field.gru import gru as gru
from jaxrnn.analysis.mean_field.lstm import lstm as lstm
from jaxrnn.analysis.mean_field.minimal_rnn import minimal_rnn as minimal_rnn
from jaxrnn.analysis.mean_field.result import MeanField as MeanField

__all__ = [
    "CriticalPoint",
    "LyapunovExponents",
    "MeanField",
    "critical_gain",
    "critical_line",
    "elman",
    "gru",
    "lstm",
    "lyapunov_exponents",
    "minimal_rnn",
]
