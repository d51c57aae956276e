"""Accelerators as a few numbers: what they compute, hold, read and send each other."""

import math
from typing import NamedTuple

__all__ = ["DEVICES", "Device", "Link"]


class Link(NamedTuple):
    """A way between two devices.

    Attributes:
      bandwidth: bytes per second that a device sends, while it receives as much.
      latency: seconds from one round of messages to the next, however small they are.
    """

    bandwidth: float
    latency: float


class Device(NamedTuple):
    """One accelerator among others of its kind.

    Attributes:
      flops: floating-point operations per second of a large matrix product, in the precision used.
      memory_bandwidth: bytes per second to and from its memory.
      memory: bytes.
      step_overhead: seconds that a time step takes where there is next to nothing to compute.
      near: how many devices `link` joins, such as those of one machine.
      link: between these.
      network: between the others.
    """

    flops: float
    memory_bandwidth: float
    memory: float
    step_overhead: float
    near: int
    link: Link
    network: Link

    def parts(self, group: int, inner: int = 1) -> tuple[int, int]:
        """How many of a group share `link`, and how many such parts the group has.

        Args:
          group: devices along one axis of a mesh.
          inner: devices along the axes inside of it, which fill the machines first.
        """
        near = min(group, max(self.near // inner, 1))
        return near, math.ceil(group / near)

    def gather_seconds(self, size: float, group: int, inner: int = 1) -> float:
        """Seconds of an all-gather or a reduce-scatter, at best.

        For S bytes (the whole), k devices near each other and f such parts,

            t = ceil(log2 k) a + (k - 1) / k S / b + ceil(log2 f) a' + (f - 1) / f (S / k) / b'

        with latency a and bandwidth b of `link`, a' and b' of `network`: as few rounds and as few
        bytes as any algorithm has. An all-reduce is both, one after the other.

        Args:
          size: S, bytes of the whole buffer.
          group: devices along the axis.
          inner: devices along the axes inside of it.

        Reference:
          R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of collective communication operations
          in MPICH", 2005, sections 4.1 and 4.4.
        """
        near, far = self.parts(group, inner)
        return (
            _rounds(near) * self.link.latency
            + (near - 1) / near * size / self.link.bandwidth
            + _rounds(far) * self.network.latency
            + (far - 1) / far * (size / near) / self.network.bandwidth
        )

    def send_seconds(self, size: float, group: int, inner: int = 1) -> float:
        """Seconds in which every device sends its neighbour along an axis `size` bytes."""
        link = self.link if self.parts(group, inner)[1] == 1 else self.network
        return link.latency + size / link.bandwidth


def _rounds(group: int) -> int:
    return math.ceil(math.log2(group))


# Data sheets: memory and its bandwidth, links (H200: NVLink 900 GB/s and TPU: 4,800 Gbit/s in both
# directions together; one 400 Gbit/s port for each H200), and the TPU's flops, in bfloat16.
# Measured by benchmarks/accelerator.py: the H200's flops in TF32, and its time of a step.
# Assumed, measured nowhere here: all latencies, and the TPU's time of a step.
DEVICES = {
    "H200": Device(404e12, 4.8e12, 141e9, 9e-6, 8, Link(450e9, 3e-6), Link(50e9, 6e-6)),
    "TPU v5p": Device(459e12, 2.765e12, 95e9, 2e-6, 8960, Link(300e9, 1e-6), Link(25e9, 20e-6)),
}
