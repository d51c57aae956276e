"""The shapes that are measured."""

from typing import NamedTuple

__all__ = ["ACCELERATOR", "CASES", "CORE", "QUICK", "TINY", "Case"]


class Case(NamedTuple):
    """One layer on one batch.

    Attributes:
      batch: B, sequences.
      steps: T.
      inputs: D, features.
      hidden: H.
    """

    batch: int
    steps: int
    inputs: int
    hidden: int

    @property
    def label(self) -> str:
        """The sizes as in ``B=8 T=500 D=256 H=256``."""
        return " ".join(f"{name}={size}" for name, size in zip("BTDH", self, strict=True))


CORE = {
    "long": Case(1, 1000, 64, 64),
    "small": Case(32, 100, 128, 128),
    "ptb_layer": Case(20, 35, 650, 650),
    "pixels": Case(32, 784, 1, 128),
    "medium": Case(8, 500, 256, 256),
    "batch": Case(128, 100, 256, 256),
    "wide": Case(64, 50, 512, 512),
}
QUICK = {name: CORE[name] for name in ("long", "small")}
TINY = {"tiny": Case(2, 6, 3, 4)}

# What others publish numbers for, and what a GPU of one to two hundred processors is not idle at.
ACCELERATOR = {
    "flashrnn": Case(16, 1024, 768, 768),
    "ptb": Case(20, 35, 1500, 1500),
    "charlm": Case(64, 150, 256, 256),
    "smnist": Case(128, 784, 1, 128),
    "tiny_long": Case(1, 1000, 64, 64),
    "dreamer": Case(16, 64, 512, 512),
    "lm": Case(128, 25, 1024, 1024),
}

CASES = {"core": CORE, "quick": QUICK, "tiny": TINY, "accelerator": ACCELERATOR}
