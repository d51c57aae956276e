"""Timing of functions side by side: checked first, interleaved, medians, and where it was done."""

import json
import pathlib
import platform
import statistics
import time

import jax
import jaxlib

RESULTS = pathlib.Path(__file__).parent / "results"


def timed(functions, rounds):
    """Runs each function once to warm up, then all in turn; returns the median seconds by name."""
    seconds = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def place():
    """What the numbers depend on: device, versions."""
    device = jax.devices()[0]
    return {
        "device": f"{device.platform}, {device.device_kind}",
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
    }


def write(name, data):
    """Writes ``results/NAME_PLATFORM.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}_{jax.devices()[0].platform}.json"
    path.write_text(json.dumps(place() | data, indent=1) + "\n")
    print(f"wrote {path}")
