"""What processes tell each other: texts, and whether all were told the same."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

__all__ = ["check_same", "gather_texts"]


def gather_texts(text: str) -> list[str]:
    """Returns the texts of all processes, by index; every process has to call it.

    Args:
      text: of this process, of any length.

    Returns:
      One text a process.

    Example:
      >>> gather_texts("here")
      ['here']
    """
    if jax.process_count() == 1:
        return [text]
    data = np.frombuffer(text.encode(), np.uint8)
    digest = np.frombuffer(hashlib.sha256(data.tobytes()).digest(), np.uint8)
    size = np.frombuffer(np.array([len(data)], "<u4").tobytes(), np.uint8)
    heads = multihost_utils.process_allgather(np.concatenate([digest, size]))
    if (heads == heads[0]).all():
        return [text] * len(heads)
    sizes = np.ascontiguousarray(heads[:, -4:]).view("<u4")[:, 0]
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: len(data)] = data
    rows = multihost_utils.process_allgather(padded)
    return [row[:size].tobytes().decode() for row, size in zip(rows, sizes, strict=True)]


def _named(texts: list[str]) -> str:
    """Says which process has which text, as in ``"32 in process 0, 64 in processes 1, 2"``."""
    places: dict[str, list[str]] = {}
    for index, text in enumerate(texts):
        places.setdefault(text, []).append(str(index))
    return ", ".join(
        f"{text} in process{'' if len(where) == 1 else 'es'} {', '.join(where)}"
        for text, where in places.items()
    )


def check_same(
    values: Mapping[str, Any],
    *,
    notes: Mapping[str, str] | None = None,
    by: str = "check_same",
) -> None:
    """Checks that all processes were told the same; every process has to call it.

    Args:
      values: from a name, such as ``"--hidden"``, to what JSON can hold.
      notes: from names in `values` to a text that an error shows beside the value, such as the file
        that has the checksum; notes are not compared.
      by: the function the user called, for messages.

    Raises:
      ValueError: values differ; the message names them and their processes, and is the same in all.

    Example:
      >>> check_same({"--hidden": 32, "data": "9f86d081"}, notes={"data": "novel.txt"})
    """
    shown = {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
    told = [json.loads(text) for text in gather_texts(json.dumps(shown, sort_keys=True))]
    if all(one == told[0] for one in told):
        return
    # Only now, so that notes cost nothing where all is well.
    notes = {} if notes is None else dict(notes)
    all_notes = [json.loads(text) for text in gather_texts(json.dumps(notes))]
    different = []
    for name in sorted({name for one in told for name in one}):
        texts = [one.get(name, "nothing") for one in told]
        if len(set(texts)) > 1:
            beside = [f" ({one[name]})" if name in one else "" for one in all_notes]
            named = _named([text + note for text, note in zip(texts, beside, strict=True)])
            different.append(f"{name} {named}")
    msg = (
        f"{by}: got {'; '.join(different)}; expected the same in all processes; start them all "
        "with the same options, on the same data"
    )
    raise ValueError(msg)
