"""Laws of large random matrices, to stand beside measured spectra.

Densities, distribution functions, edges and moments of

- eigenvalues of one matrix (circular law),
- squared singular values of one matrix (Marchenko-Pastur) and of a product (Fuss-Catalan),
- Lyapunov exponents of long products (Newman; their limit, the triangular law).

Entries of a matrix are independent with mean 0 and variance ``sigma^2 / N``; only Newman's are of
variance ``sigma^2``, since they hold at every size N.
"""

from jaxrnn.analysis.random_matrix.circular import circular_law_cdf as circular_law_cdf
from jaxrnn.analysis.random_matrix.circular import circular_law_density as circular_law_density
from jaxrnn.analysis.random_matrix.exponents import newman_exponents as newman_exponents
from jaxrnn.analysis.random_matrix.exponents import newman_variances as newman_variances
from jaxrnn.analysis.random_matrix.exponents import triangular_law_cdf as triangular_law_cdf
from jaxrnn.analysis.random_matrix.exponents import triangular_law_density as triangular_law_density
from jaxrnn.analysis.random_matrix.fuss_catalan import fuss_catalan_cdf as fuss_catalan_cdf
from jaxrnn.analysis.random_matrix.fuss_catalan import fuss_catalan_density as fuss_catalan_density
from jaxrnn.analysis.random_matrix.fuss_catalan import fuss_catalan_edge as fuss_catalan_edge
from jaxrnn.analysis.random_matrix.fuss_catalan import fuss_catalan_moment as fuss_catalan_moment
from jaxrnn.analysis.random_matrix.marchenko_pastur import (
    marchenko_pastur_cdf as marchenko_pastur_cdf,
)
from jaxrnn.analysis.random_matrix.marchenko_pastur import (
    marchenko_pastur_density as marchenko_pastur_density,
)
from jaxrnn.analysis.random_matrix.marchenko_pastur import (
    marchenko_pastur_edges as marchenko_pastur_edges,
)
from jaxrnn.analysis.random_matrix.marchenko_pastur import (
    marchenko_pastur_moment as marchenko_pastur_moment,
)

__all__ = [
    "circular_law_cdf",
    "circular_law_density",
    "fuss_catalan_cdf",
    "fuss_catalan_density",
    "fuss_catalan_edge",
    "fuss_catalan_moment",
    "marchenko_pastur_cdf",
    "marchenko_pastur_density",
    "marchenko_pastur_edges",
    "marchenko_pastur_moment",
    "newman_exponents",
    "newman_variances",
    "triangular_law_cdf",
    "triangular_law_density",
]
