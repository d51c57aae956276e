"""The log of a training run: a file of JSON, one line a step."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrnn.cli.results import plain
from jaxrnn.train import Metrics

__all__ = ["MetricsLog", "read_metrics", "read_validations"]


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the lines that are whole: a run that was killed may have cut the last one short."""
    found = []
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
            break
        found.append(entry)
    return found


def _validations(entries: list[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(e["step"], float(e["validation_loss"])) for e in entries if "validation_loss" in e]


def read_validations(path: pathlib.Path) -> list[tuple[int, float]]:
    """Returns the measurements on data held out in a log: the steps done and the loss.

    Args:
      path: of the file, which need not be there.
    """
    return _validations(_lines(path))


def read_metrics(path: pathlib.Path) -> Metrics:
    """Returns the metrics of the steps in a log, arrays ``(steps,)``.

    Args:
      path: of the file, which need not be there.
    """
    rows = [one for one in _lines(path) if "loss" in one]
    kinds = {"clipped": bool, "skipped": bool}
    return Metrics(
        *(np.array([kinds.get(name, float)(row[name]) for row in rows]) for name in Metrics._fields)
    )


class MetricsLog:
    """Writes what happens at each step, as ``{"step": 1, "loss": 2.3, ...}``.

    Steps count from 1: the number of steps done. A line of a measurement on data held out has
    ``"validation_loss"`` instead. What is not finite is the text "nan", "inf" or "-inf".

    Args:
      path: of the file.
      done: the steps that the run has behind it; later lines, of steps that are taken again, go.
      writes: False in a process that leaves writing to another one; it keeps the validations.
    """

    def __init__(self, path: pathlib.Path, *, done: int = 0, writes: bool = True):
        self.path, self.writes = path, writes
        kept = [one for one in _lines(path) if one["step"] <= done]
        self.validations = _validations(kept)
        if not writes:
            return
        part = path.with_name(f".{path.name}.part")
        part.write_text("".join(map(self._line, kept)), encoding="utf-8")
        part.replace(path)

    @staticmethod
    def _line(entry: Mapping[str, Any]) -> str:
        return json.dumps(plain(dict(entry)), allow_nan=False) + "\n"

    def _append(self, text: str) -> None:
        if not self.writes:
            return
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(text)

    def steps(self, done: int, metrics: Metrics) -> None:
        """Writes the steps of a chunk.

        Args:
          done: steps done at its end.
          metrics: of its steps.
        """
        first = done - len(metrics.loss) + 1
        rows = (dict(zip(metrics._fields, row, strict=True)) for row in zip(*metrics, strict=True))
        self._append("".join(self._line({"step": k, **row}) for k, row in enumerate(rows, first)))

    def validation(self, done: int, loss: float) -> None:
        """Writes a measurement on data held out.

        Args:
          done: steps done before it.
          loss: measured there.
        """
        self.validations.append((done, loss))
        self._append(self._line({"step": done, "validation_loss": loss}))
