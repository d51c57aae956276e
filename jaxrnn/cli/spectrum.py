"""`jaxrnn spectrum`: the spectra of one network's gradient flow."""

import argparse
import contextlib
import hashlib
import math
import pathlib
import time
from typing import Any

import jax
import numpy as np

from jaxrnn.cells import CELLS
from jaxrnn.cli.choices import (
    LIMITS,
    add_number_arguments,
    add_task_arguments,
    check_numbers,
    check_packages,
    choose_cell,
    choose_task,
)
from jaxrnn.cli.errors import CommandError
from jaxrnn.cli.flows import has_real_state
from jaxrnn.cli.network import Network, make_network
from jaxrnn.cli.output import check_file, output_directory, write_files
from jaxrnn.cli.page import make_page
from jaxrnn.cli.results import versions
from jaxrnn.cli.spectra import measure_spectrum
from jaxrnn.cli.spectrum_results import (
    spectrum_json,
    spectrum_rows,
    spectrum_verdict,
    summary_rows,
)
from jaxrnn.cli.terminal import format_table, progress
from jaxrnn.cli.weights import fill_params, find_hidden_size, pack_params, read_arrays
from jaxrnn.tasks import Task
from jaxrnn.train import Metrics

__all__ = ["add_arguments", "run"]

_HIDDEN = 64
_EXPONENTS = 8
_LEARNING_RATE = 3e-3
_CLIP_NORM = 1.0
_BATCH_SIZE = 32
_MEASURED = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("cell", metavar="CELL", help=f"one of {', '.join(CELLS)}")
    parser.add_argument(
        "--params",
        metavar="FILE",
        help="a saved network: a NumPy .npz file of the cell's parameters by name, such as w_ih, "
        "w_hh and b; names of a tree joined by '/'; such as cell.npz of `jaxrnn train` (default: "
        "fresh parameters)",
    )
    add_task_arguments(parser)
    add_number_arguments(
        parser,
        {
            "hidden": (None, f"hidden size (default: that of --params, or {_HIDDEN})"),
            "length": (400, "steps of a sequence (copy: of its delay)"),
            "k": (None, f"how many exponents (default: {_EXPONENTS}, or all if fewer)"),
            "steps": (0, "training steps before measuring"),
            "seed": (0, "of everything random"),
            "warmup": (None, "steps that are not counted (default: a quarter)"),
        },
    )
    parser.add_argument(
        "--save", metavar="FILE", help="write the measured parameters there, for --params"
    )
    parser.add_argument(
        "--out",
        default="jaxrnn-spectrum",
        metavar="DIR",
        help="where index.html, spectrum.json and the pictures go (default: %(default)s)",
    )


def _choose_network(arguments: argparse.Namespace, task: Task) -> Network:
    """Returns the network that the words ask for: fresh, or with the parameters of a file."""
    make = choose_cell(arguments.cell).make
    hidden, arrays = arguments.hidden, None
    if arguments.params is not None:
        arrays = read_arrays(arguments.params)
        if hidden is None:
            hidden = find_hidden_size(make, task.input_size, arrays)
    hidden = _HIDDEN if hidden is None else hidden
    if arrays is None:
        return make_network(make, task, hidden_size=hidden, seed=arguments.seed)
    what = f"{arguments.cell} with {task.input_size} inputs and {hidden} hidden units"
    params = fill_params(make(task.input_size, hidden), arrays, what=what)
    network = make_network(make, task, hidden_size=hidden, seed=arguments.seed)
    return network._replace(params=(params, network.params[1]))


def _sizes(arguments: argparse.Namespace, network: Network) -> tuple[int, int]:
    """Returns k and the warm-up, checked.

    Raises:
      CommandError: k is larger than the state, the warm-up leaves no step, or the state is not made
        of real numbers.
    """
    cell, params = network.cell, network.params[0]
    state = jax.eval_shape(cell.initial_state, params)
    if not has_real_state(cell, params):
        kinds = ", ".join(sorted({str(leaf.dtype) for leaf in jax.tree.leaves(state)}))
        msg = (
            f"got {arguments.cell} with a state of {kinds}; expected real floating numbers, which "
            "have exponents and singular values one by one; name another cell"
        )
        raise CommandError(msg)
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state))
    k = min(_EXPONENTS, size) if arguments.k is None else arguments.k
    if k > size:
        msg = (
            f"got --k {k}; expected 1 to {size}, the size of the state of {arguments.cell} with "
            f"--hidden {network.hidden_size}; leave --k out for {min(_EXPONENTS, size)}"
        )
        raise CommandError(msg)
    num_steps = network.task.info["sequence_length"]
    warmup = num_steps // 4 if arguments.warmup is None else arguments.warmup
    if warmup >= num_steps:
        msg = (
            f"got --warmup {warmup} with sequences of {num_steps} steps; expected 0 to "
            f"{num_steps - 1}, so that steps remain to be measured; raise --length"
        )
        raise CommandError(msg)
    return k, warmup


def _train(arguments: argparse.Namespace, network: Network) -> tuple[Network, Metrics | None]:
    if not arguments.steps:
        return network, None
    with progress(arguments.steps) as advance:
        done = 0

        def on_chunk(steps, metrics):
            nonlocal done
            advance(arguments.cell, steps - done, float(metrics.loss[-1]))
            done = steps

        advance(f"{arguments.cell}, compiling", 0)
        result = network.train(
            steps=arguments.steps,
            learning_rate=_LEARNING_RATE,
            clip_norm=_CLIP_NORM,
            on_chunk=on_chunk,
        )
    return network._replace(params=result.state.params), result.metrics


def run(arguments: argparse.Namespace) -> None:
    """Runs the command; writes nothing unless all of it succeeds."""
    check_packages()
    limits = LIMITS | {"steps": (0, 2**31), "k": (1, 2**24), "warmup": (0, 2**31)}
    check_numbers(arguments, limits)
    choose_cell(arguments.cell)
    task = choose_task(
        arguments.task,
        arguments.data,
        length=arguments.length,
        batch_size=_BATCH_SIZE,
        columns=arguments.columns,
    )
    with contextlib.ExitStack() as stack:
        network = _choose_network(arguments, task)
        k, warmup = _sizes(arguments, network)
        directory = stack.enter_context(output_directory(arguments.out))
        if arguments.save is not None:
            check_file("--save", arguments.save)
        from jaxrnn.cli.spectrum_page import EXPLANATION, METHOD, draw_spectrum

        start = time.perf_counter()
        network, metrics = _train(arguments, network)
        params = network.params[0]
        report = measure_spectrum(
            network.cell, params, network.probe(_MEASURED).xs, k=k, warmup=warmup
        )
        seconds = time.perf_counter() - start
        packed = pack_params(params)
        settings = _settings(arguments, network, k=k, warmup=warmup)
        figures = draw_spectrum(
            report, name=arguments.cell, metrics=metrics, info=task.info, clip_norm=_CLIP_NORM
        )
        found = spectrum_verdict(report)
        page = make_page(
            title=f"The gradient flow of {arguments.cell} in spectra",
            lead=_lead(arguments, network, counted=len(report.lyapunov.history), warmup=warmup),
            found=found,
            tables=[spectrum_rows(report), summary_rows(report)],
            explanation=EXPLANATION,
            figures=list(figures.values()),
            method=METHOD,
            settings={
                **{key: value for key, value in settings.items() if value is not None},
                **{key: value for key, value in task.info.items() if key != "vocabulary"},
                **versions(),
            },
            numbers="spectrum.json",
        )
        numbers = spectrum_json(report, settings, task.info, metrics=metrics)
        files = {
            "spectrum.json": numbers.encode(),
            **{name: figure.picture for name, figure in figures.items()},
            # A file's name need not be UTF-8; what the page cannot hold it shows as a number.
            "index.html": page.encode("utf-8", "xmlcharrefreplace"),
        }
        if arguments.save is not None:
            files[str(pathlib.Path(arguments.save).absolute())] = packed
        write_files(directory, files)
    print(format_table(*spectrum_rows(report)))
    print()
    print(format_table(*summary_rows(report), left=2))
    print()
    print("\n".join(found))
    print(f"\nMeasured in {seconds:.0f} s. Open {directory / 'index.html'}")


def _settings(
    arguments: argparse.Namespace, network: Network, *, k: int, warmup: int
) -> dict[str, Any]:
    params = network.params[0]
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    return {
        "cell": arguments.cell,
        "task": network.task.name,
        "hidden": network.hidden_size,
        "parameters": sum(leaf.size for leaf in leaves),
        "dtype": ", ".join(sorted({str(leaf.dtype) for leaf in leaves})),
        "params": arguments.params,
        "params_sha256": hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest(),
        "length": arguments.length,
        "warmup": warmup,
        "k": k,
        "steps": arguments.steps,
        "seed": arguments.seed,
        "measured_sequences": _MEASURED,
        **(
            {
                "batch_size": _BATCH_SIZE,
                "optimizer": "adam",
                "learning_rate": _LEARNING_RATE,
                "clip_norm": _CLIP_NORM,
            }
            if arguments.steps
            else {}
        ),
    }


def _lead(arguments: argparse.Namespace, network: Network, *, counted: int, warmup: int) -> str:
    info = network.task.info
    if arguments.params is not None:
        origin = f"parameters of {arguments.params}"
    else:
        origin = "fresh parameters"
    trained = f", trained for {arguments.steps} steps" if arguments.steps else ""
    return (
        f"One network with {origin}{trained}, driven by {info['source']}; measured on {_MEASURED} "
        f"sequences over {counted} steps after a warm-up of {warmup}."
    )
