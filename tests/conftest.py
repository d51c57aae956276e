"""Shared by all tests: two virtual CPU devices, and the fixtures `key` and `x64`."""

import os
from collections.abc import Iterator

import jax
import pytest

# Tests compile much and compute little: without LLVM's costly passes they take two thirds of the
# time. Values are checked against oracles either way.
_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if jax.__version_info__ < (0, 11):
    # The older of XLA's two emitters compiles in half the time; jax 0.12 has no such flag.
    _FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{_FLAGS} {os.environ.get('XLA_FLAGS', '')}".strip()

# Before anything starts a backend; sharding tests need a second device, the others ignore it.
jax.config.update("jax_num_cpu_devices", 2)


@pytest.fixture(autouse=True, scope="module")
def _forget_programs() -> Iterator[None]:
    """Drops what a file compiled: a process that holds thousands of programs crashes in XLA."""
    yield
    jax.clear_caches()


@pytest.fixture
def key() -> jax.Array:
    """A random key, the same in every test."""
    return jax.random.key(0)


@pytest.fixture
def x64() -> Iterator[None]:
    """Runs the whole test in double precision."""
    with jax.enable_x64(True):
        yield
