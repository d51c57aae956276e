"""Shared by all tests: two virtual CPU devices, a compilation cache, the fixtures `key`, `x64`."""

import os
import pathlib
from collections.abc import Iterator

import jax
import pytest

# Tests compile much and compute little: without LLVM's costly passes they take two thirds of the
# time. Values are checked against oracles either way.
_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ["XLA_FLAGS"] = f"{_FLAGS} {os.environ.get('XLA_FLAGS', '')}".strip()

# Many tests compile the same programs, and a second run compiles them all again but for this.
_CACHE = pathlib.Path(__file__).parents[1] / ".pytest_cache" / "jax"
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# Before anything starts a backend; sharding tests need a second device, the others ignore it.
jax.config.update("jax_num_cpu_devices", 2)


@pytest.fixture
def key() -> jax.Array:
    """A random key, the same in every test."""
    return jax.random.key(0)


@pytest.fixture
def x64() -> Iterator[None]:
    """Runs the whole test in double precision."""
    with jax.enable_x64(True):
        yield
