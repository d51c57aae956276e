"""torch: its layers, on a CPU (oneDNN for the LSTM) or through cuDNN on a GPU."""

import numpy as np

from jaxrnn.bench.peers.layout import pick_layer
from jaxrnn.bench.problem import Problem
from jaxrnn.bench.program import Program, Results, Unavailable, mapped_back
from jaxrnn.core.types import Params
from jaxrnn.interop.weights import pack_weights

__all__ = ["as_torch", "torch_module", "torch_program"]

_LAYERS = {"lstm": "LSTM", "gru": "GRU", "elman": "RNN"}
_CELLS = {"lstm": "LSTMCell", "gru": "GRUCell", "elman": "RNNCell"}


def _pack(params: Params) -> tuple:
    """Returns the weights in the order of a torch layer's parameters."""
    return tuple(pack_weights("torch", params).values())


def _device(problem: Problem):
    """The device, with TF32 set as the problem says.

    Raises:
      Unavailable: torch does not run on the problem's platform.
    """
    import torch

    if problem.platform == "cpu":
        return torch.device("cpu")
    if problem.platform != "gpu" or not torch.cuda.is_available():
        msg = f"this torch ({torch.__version__}) has no device like JAX's {problem.platform}"
        raise Unavailable(msg)
    allowed = problem.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
    return torch.device("cuda")


def as_torch(array, device):
    """Returns a copy of an array as a tensor on a device."""
    import torch

    return torch.from_numpy(np.array(array)).to(device)


def torch_module(problem: Problem, *, one_step: bool = False):
    """Returns a torch layer, or cell, with the problem's weights, and its device.

    Args:
      problem: the problem.
      one_step: for the cell that does one step.

    Raises:
      Unavailable: torch has no such cell, or no such device.
    """
    import torch

    make = pick_layer(problem, _CELLS if one_step else _LAYERS, owner=torch.nn)
    device = _device(problem)
    module = make(problem.case.inputs, problem.case.hidden).to(device)
    with torch.no_grad():
        values = _pack(problem.params)
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.copy_(as_torch(value, device))
    return module, device


def torch_program(problem: Problem) -> Program:
    """Makes torch's layer ready on a problem.

    Raises:
      Unavailable: torch has no such cell, or does not run on the problem's platform.
    """
    import torch

    layer, device = torch_module(problem)
    xs, weight = as_torch(problem.xs, device), as_torch(problem.weight, device)
    on_gpu = device.type == "cuda"
    wait = torch.cuda.synchronize if on_gpu else lambda: None

    def train():
        layer.zero_grad()
        inputs = xs.clone().requires_grad_(True)
        ys = layer(inputs)[0]
        (ys * weight).mean().backward()
        wait()
        return ys, inputs

    def infer():
        with torch.no_grad():
            ys = layer(xs)[0]
        wait()
        return ys

    def results():
        ys, inputs = train()
        gradients = [parameter.grad.cpu().numpy() for parameter in layer.parameters()]
        return Results(
            ys.detach().cpu().numpy(),
            inputs.grad.cpu().numpy(),
            mapped_back(_pack, problem.params, gradients),
        )

    facts = {}
    if on_gpu:
        train()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        train()
        facts["temporary_mb"] = (torch.cuda.max_memory_allocated() - before) / 1e6
    return Program(train, infer, results, facts)
