"""The version of this package: its one place, read by the build and by `jaxrnn.__version__`."""

__all__ = ["__version__"]

__version__ = "0.1.0"
