"""Where numbers were measured."""

import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import jax

from jaxrnn._version import __version__

__all__ = ["DISTRIBUTIONS", "device_name", "place", "processor"]

# From the name that is imported to the name that is installed, where they differ.
DISTRIBUTIONS = {"haiku": "dm-haiku"}


def processor() -> str:
    """Returns the processor's model name, or what is known of it."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not every system has it
        return os.cpu_count() or 1


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def _revision() -> str | None:
    """The commit of this checkout, with ``+`` if files other than results differ from it."""
    root = pathlib.Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*words):
        done = subprocess.run(
            ["git", "-C", str(root), *words],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {"python": platform.python_version(), "jaxrnn": __version__}
    for name in ("jax", "jaxlib", "numpy", *packages):
        try:
            found[name] = importlib.metadata.version(DISTRIBUTIONS.get(name, name))
        except importlib.metadata.PackageNotFoundError:
            found[name] = getattr(sys.modules.get(name), "__version__", "unknown")
    torch = sys.modules.get("torch") if "torch" in found else None
    if torch is not None and torch.cuda.is_available():
        found["torch's cuDNN"] = str(torch.backends.cudnn.version())
    return found


def device_name() -> str:
    """Returns ``cpu``, or an accelerator's name as a file may be called."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return "cpu"
    return re.sub(r"[^a-z0-9]+", "_", device.device_kind.lower()).strip("_") or device.platform


def place(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Returns what numbers depend on: machine, versions, settings.

    Args:
      packages: names of the libraries that took part, as they are imported.

    Returns:
      What goes into a file of results.
    """
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else processor(),
        "platform": device.platform,
        "processor": processor(),
        "cores": _cores(),
        "load_average": _load(),
        "versions": _versions(packages),
        "device_software": device.client.platform_version,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "matmul_precision": jax.config.jax_default_matmul_precision,
        "revision": _revision(),
    }
