"""What do loops reach on an accelerator, in microseconds a step?

The base line for kernels: the plain scan, unrolled scans, the same as CUDA graphs (command
buffers), `unroll` and `fused_unroll`, beside torch's cuDNN and `jax.experimental.rnn`. In tf32 and
in fp32, never one against the other. A name such as scan/8+graphs says: 8 steps an iteration, the
loop as a graph.

    python benchmarks/accelerator.py [--cells lstm,gru] [--cases accelerator] [--rounds 11]
        [--precisions tf32,fp32] [--contenders scan/1,fused,...]

torch takes its memory beside JAX: set XLA_PYTHON_CLIENT_MEM_FRACTION=0.5 if it finds too little.
"""

import functools
import sys

import jax
from common import make_parser, measure, parse

from jaxrnn import fused_unroll, unroll
from jaxrnn.bench import PRECISIONS, choose_contenders, textbook_scan, unroll_contender

# The list replaces JAX's own, in which WHILE is missing.
GRAPHS = {
    "xla_gpu_enable_command_buffer": (
        "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,WHILE"
    )
}


def factor(run, steps):
    return functools.partial(run, unroll_factor=steps)


# From a name to the way to run it, and whether as graphs too.
WAYS = {
    "scan/1": (factor(textbook_scan, 1), True),
    "scan/4": (factor(textbook_scan, 4), False),
    "scan/8": (factor(textbook_scan, 8), True),
    "scan/16": (factor(textbook_scan, 16), False),
    "unroll/1": (factor(unroll, 1), True),
    "unroll/8": (factor(unroll, 8), False),
    "fused": (fused_unroll, True),
    "fused/1": (factor(fused_unroll, 1), False),
    "fused_outputs": (functools.partial(fused_unroll, storage="outputs"), False),
}


def all_contenders():
    found = []
    for name, (run, graphs) in WAYS.items():
        gated = name.startswith("fused")
        found.append(unroll_contender(name, run, gated=gated))
        if graphs:
            found.append(
                unroll_contender(f"{name}+graphs", run, gated=gated, compiler_options=GRAPHS)
            )
    found += choose_contenders(["jax_cudnn", "torch"])
    return {contender.name: contender for contender in found}


def main(arguments=None):
    parser = make_parser(__doc__, cells="lstm,gru", cases="accelerator")
    parser.add_argument("--precisions", default="tf32,fp32", metavar="A,B", help="(%(default)s)")
    every = all_contenders()
    parser.add_argument("--contenders", default=",".join(every), metavar="A,B,...")
    options = parse(parser, arguments)
    names = options.contenders.split(",")
    if not set(names) <= set(every):
        parser.error(f"got --contenders {options.contenders}; expected some of {', '.join(every)}")
    precisions = options.precisions.split(",")
    if not set(precisions) <= set(PRECISIONS):
        parser.error(f"got {options.precisions}; expected some of {', '.join(PRECISIONS)}")
    if jax.default_backend() == "cpu":
        sys.exit(
            "accelerator.py: got a CPU only; expected a GPU or TPU that JAX sees; "
            "install JAX for it (jaxrnn[cuda13]), or run benchmarks/training.py here"
        )
    problems = [
        ({"case": name}, kind, case, precision)
        for precision in precisions
        for kind in options.cells
        for name, case in options.cases.items()
    ]
    measure("accelerator", options, problems, [every[name] for name in names])


if __name__ == "__main__":
    main()
