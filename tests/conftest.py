"""Shared by all tests: quick compilation, eight virtual CPU devices, `key` and `x64`."""

import gc
import os
import pathlib
import signal
from collections.abc import Iterator

import jax
import pytest

# Tests compile much and compute little: without LLVM's costly passes they take two thirds of the
# time. Values are checked against oracles either way.
_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
_FLAGS += " --xla_cpu_parallel_codegen_split_count=1"  # the cores are taken by the workers
if jax.__version_info__ < (0, 11):
    # The older of XLA's two emitters compiles in half the time; jax 0.12 has no such flag.
    _FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{_FLAGS} {os.environ.get('XLA_FLAGS', '')}".strip()
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its idle threads spin
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests send it
gc.set_threshold(100_000, 50, 100)  # tracing makes many objects and hardly a cycle

# Before anything starts a backend; sharding tests need them, the others ignore them.
jax.config.update("jax_num_cpu_devices", 8)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Gives a worker whole files, so that tests share what they compile; of the laws whole cells.

    (`--dist loadgroup` would do, but xdist 3.8 overlooks the groups under pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, test = nodeid.partition("::")
            if not file.endswith("test_laws.py"):
                return file
            return f"{file}[{test.partition('[')[2].partition('-')[0]}]"

    return ByFile(config, log)


def _mappings() -> int:
    """How many memory mappings the process has; many where the system does not say."""
    maps = pathlib.Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else _MANY


# Every program takes some. Linux grants a process 65,530, and XLA crashes without more.
_MANY = 15_000


@pytest.fixture(autouse=True, scope="module")
def _forget_programs(request) -> Iterator[None]:
    """Drops what was compiled when it becomes much, else the next file may use it too.

    Around files that put other functions in the library's place it is dropped in any case: what
    was traced with them is wrong for others.
    """
    patched = "onkey" in request.path.read_text(encoding="utf-8")
    if patched:
        jax.clear_caches()
    yield
    if patched or _mappings() >= _MANY:
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
