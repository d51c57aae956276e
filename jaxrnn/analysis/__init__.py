"""Gradient flow: Jacobians, their products, and how gradients decay through time.

Everything here takes ``(cell, params, xs, state=None, ...)`` with any cell and any pytree state,
batched by leading axes, runs under `jax.jit`, returns NamedTuples, works in nats (per step), and
computes matrix products in full precision and derivatives of saturated gates accurately.
"""

from jaxrnn.analysis import mean_field as mean_field
from jaxrnn.analysis import random_matrix as random_matrix
from jaxrnn.analysis import regularizers as regularizers
from jaxrnn.analysis.accurate import accurate as accurate
from jaxrnn.analysis.anatomy import GateAnatomy as GateAnatomy
from jaxrnn.analysis.anatomy import gate_anatomy as gate_anatomy
from jaxrnn.analysis.bounds import Bounds as Bounds
from jaxrnn.analysis.bounds import bounds as bounds
from jaxrnn.analysis.certificate import NewtonCertificate as NewtonCertificate
from jaxrnn.analysis.certificate import newton_certificate as newton_certificate
from jaxrnn.analysis.contributions import ParameterGradientByLag as ParameterGradientByLag
from jaxrnn.analysis.contributions import parameter_gradient_by_lag as parameter_gradient_by_lag
from jaxrnn.analysis.covariant import CovariantLyapunovVectors as CovariantLyapunovVectors
from jaxrnn.analysis.covariant import covariant_lyapunov_vectors as covariant_lyapunov_vectors
from jaxrnn.analysis.critical import CriticalInit as CriticalInit
from jaxrnn.analysis.critical import critical_init as critical_init
from jaxrnn.analysis.critical import scale_recurrent as scale_recurrent
from jaxrnn.analysis.decay import GradientDecay as GradientDecay
from jaxrnn.analysis.decay import fit_rate as fit_rate
from jaxrnn.analysis.decay import gradient_decay as gradient_decay
from jaxrnn.analysis.fixed_points import FixedPoints as FixedPoints
from jaxrnn.analysis.fixed_points import PointKind as PointKind
from jaxrnn.analysis.fixed_points import fixed_points as fixed_points
from jaxrnn.analysis.fluctuations import FiniteTimeExponents as FiniteTimeExponents
from jaxrnn.analysis.fluctuations import finite_time_exponents as finite_time_exponents
from jaxrnn.analysis.jacobians import JacobianProduct as JacobianProduct
from jaxrnn.analysis.jacobians import input_jacobians as input_jacobians
from jaxrnn.analysis.jacobians import jacobian_product as jacobian_product
from jaxrnn.analysis.jacobians import jacobians as jacobians
from jaxrnn.analysis.lags import LagMatrix as LagMatrix
from jaxrnn.analysis.lags import lag_matrix as lag_matrix
from jaxrnn.analysis.lyapunov import LyapunovSpectrum as LyapunovSpectrum
from jaxrnn.analysis.lyapunov import kaplan_yorke_dimension as kaplan_yorke_dimension
from jaxrnn.analysis.lyapunov import lyapunov_spectrum as lyapunov_spectrum
from jaxrnn.analysis.nonnormality import Departure as Departure
from jaxrnn.analysis.nonnormality import henrici_departure as henrici_departure
from jaxrnn.analysis.nonnormality import numerical_abscissa as numerical_abscissa
from jaxrnn.analysis.nonnormality import numerical_radius as numerical_radius
from jaxrnn.analysis.profile import LossGradientProfile as LossGradientProfile
from jaxrnn.analysis.profile import loss_gradient_profile as loss_gradient_profile
from jaxrnn.analysis.sensitivity import InputSensitivity as InputSensitivity
from jaxrnn.analysis.sensitivity import input_sensitivity as input_sensitivity
from jaxrnn.analysis.singular import SingularSpectrum as SingularSpectrum
from jaxrnn.analysis.singular import singular_spectrum as singular_spectrum
from jaxrnn.analysis.statistics import JacobianStatistics as JacobianStatistics
from jaxrnn.analysis.statistics import jacobian_eigenvalues as jacobian_eigenvalues
from jaxrnn.analysis.statistics import jacobian_statistics as jacobian_statistics
from jaxrnn.analysis.transient import TransientGrowth as TransientGrowth
from jaxrnn.analysis.transient import kreiss_constant as kreiss_constant
from jaxrnn.analysis.transient import transient_growth as transient_growth

__all__ = [
    "Bounds",
    "CovariantLyapunovVectors",
    "CriticalInit",
    "Departure",
    "FiniteTimeExponents",
    "FixedPoints",
    "GateAnatomy",
    "GradientDecay",
    "InputSensitivity",
    "JacobianProduct",
    "JacobianStatistics",
    "LagMatrix",
    "LossGradientProfile",
    "LyapunovSpectrum",
    "NewtonCertificate",
    "ParameterGradientByLag",
    "PointKind",
    "SingularSpectrum",
    "TransientGrowth",
    "accurate",
    "bounds",
    "covariant_lyapunov_vectors",
    "critical_init",
    "finite_time_exponents",
    "fit_rate",
    "fixed_points",
    "gate_anatomy",
    "gradient_decay",
    "henrici_departure",
    "input_jacobians",
    "input_sensitivity",
    "jacobian_eigenvalues",
    "jacobian_product",
    "jacobian_statistics",
    "jacobians",
    "kaplan_yorke_dimension",
    "kreiss_constant",
    "lag_matrix",
    "loss_gradient_profile",
    "lyapunov_spectrum",
    "mean_field",
    "newton_certificate",
    "numerical_abscissa",
    "numerical_radius",
    "parameter_gradient_by_lag",
    "random_matrix",
    "regularizers",
    "scale_recurrent",
    "singular_spectrum",
    "transient_growth",
]
