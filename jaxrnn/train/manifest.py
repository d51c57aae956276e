"""The manifest of a checkpoint: JSON that says what the arrays beside it are."""

import hashlib
import json
import math
import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn._version import __version__
from jaxrnn.train.leaves import Leaf
from jaxrnn.train.safetensors import strict_json

__all__ = [
    "CheckpointError",
    "Manifest",
    "UnknownVersionError",
    "check_info",
    "current_versions",
    "parse_manifest",
    "write_manifest",
]

_FORMAT = "jaxrnn checkpoint"
_VERSION = 1
_FIELDS = {"format", "version", "step", "arrays", "extra", "file", "versions", "info", "sha256"}


class CheckpointError(ValueError):
    """A checkpoint is broken, cut off, foreign, or of a format this version does not know."""


class UnknownVersionError(CheckpointError):
    """A checkpoint of a version of the format that is not known here; it need not be broken."""


class Manifest(NamedTuple):
    """What a manifest says.

    Attributes:
      step: the number of training steps done, which is the position in the data too.
      leaves: the tree's, by name.
      extra: other arrays, by name.
      size: of the file of arrays, in bytes.
      sha256: of the file of arrays.
      info: what the user added.
      versions: of the packages that wrote it, by name.
    """

    step: int
    leaves: dict[str, Leaf]
    extra: dict[str, Leaf]
    size: int
    sha256: str
    info: dict[str, Any]
    versions: dict[str, str]


def current_versions() -> dict[str, str]:
    """Returns the versions of the packages that matter to a training, by name."""
    return {"jaxrnn": __version__, "jax": jax.__version__, "numpy": np.__version__}


def check_info(info: Mapping[str, Any] | None, *, by: str) -> dict[str, Any]:
    """Returns what a user adds to a checkpoint as plain dicts and lists.

    Args:
      info: strings by whatever JSON can hold.
      by: the function the user called, for the message.

    Raises:
      TypeError: something in it is not JSON.
      ValueError: a number in it is not finite.

    Example:
      >>> check_info({"cell": "lstm", "sizes": (3, 5)}, by="save_checkpoint")
      {'cell': 'lstm', 'sizes': [3, 5]}
    """

    def plain(value, place):
        if value is None or isinstance(value, str | bool):
            return value
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            return value
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {key: plain(one, f"{place}[{key!r}]") for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [plain(one, f"{place}[{index}]") for index, one in enumerate(value)]
        error = ValueError if type(value) is float else TypeError
        msg = (
            f"{by}: got {place} = {value!r:.200} ({type(value).__name__}); expected what JSON "
            "holds: strings, finite numbers, bools, None, lists, dicts by strings; convert numbers "
            "of NumPy with .item()"
        )
        raise error(msg)

    return plain({} if info is None else info, "info")


def _digest(fields: dict[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _leaf_fields(name: str, leaf: Leaf, how: str) -> dict[str, Any]:
    shape = list(leaf.shape)
    return {"name": name} | leaf._asdict() | {"shape": shape, "stored_as": how}


def write_manifest(manifest: Manifest, stored_as: Mapping[str, str]) -> bytes:
    """Returns the manifest's text.

    Args:
      manifest: what to say.
      stored_as: how each array is stored, for other readers.
    """

    def listed(leaves):
        return [_leaf_fields(name, leaf, stored_as[name]) for name, leaf in leaves.items()]

    fields = {
        "format": _FORMAT,
        "version": _VERSION,
        "step": manifest.step,
        "versions": manifest.versions,
        "info": manifest.info,
        "arrays": listed(manifest.leaves),
        "extra": listed(manifest.extra),
        "file": {"size": manifest.size, "sha256": manifest.sha256},
    }
    fields["sha256"] = _digest(fields)
    return (json.dumps(fields, indent=1) + "\n").encode()


def _leaves(listed: Any) -> dict[str, Leaf]:
    """Reads a list of leaves, or raises KeyError, TypeError or ValueError."""
    found = {}
    for fields in listed:
        shape = tuple(map(operator.index, fields["shape"]))
        leaf = Leaf(fields["kind"], fields["dtype"], shape, fields["weak_type"])
        texts = (fields["name"], leaf.kind, leaf.dtype)
        if not all(isinstance(text, str) for text in texts) or fields["name"] in found:
            msg = "a leaf without a name of its own"
            raise ValueError(msg)
        found[fields["name"]] = leaf
    return found


def parse_manifest(text: bytes) -> Manifest:
    """Reads a manifest's text.

    Args:
      text: the file's bytes.

    Returns:
      What it says.

    Raises:
      CheckpointError: it is no manifest, or it was changed since it was written.
      UnknownVersionError: its version is unknown.
    """
    try:
        fields = strict_json(text)
    except ValueError as error:
        msg = f"got a manifest that is no JSON ({error}); expected one that jaxrnn wrote"
        raise CheckpointError(msg) from None
    if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
        msg = f"got a manifest without format {_FORMAT!r}; expected one that jaxrnn wrote"
        raise CheckpointError(msg)
    if fields.get("version") != _VERSION or type(fields["version"]) is not int:
        msg = (
            f"got version {fields.get('version')!r:.50} of the format; expected {_VERSION}; load "
            "it with the version of jaxrnn that wrote it"
        )
        raise UnknownVersionError(msg)
    said = fields.pop("sha256", None)
    try:
        same = set(fields) | {"sha256"} == _FIELDS and said == _digest(fields)
    except RecursionError:
        same = False
    if not same:
        msg = "got a manifest that does not fit its own checksum; expected it as it was written"
        raise CheckpointError(msg)
    try:
        file = fields["file"]
        manifest = Manifest(
            operator.index(fields["step"]),
            _leaves(fields["arrays"]),
            _leaves(fields["extra"]),
            operator.index(file["size"]),
            file["sha256"],
            check_info(fields["info"], by="load_checkpoint"),
            {name: f"{one!s:.50}" for name, one in dict(fields["versions"]).items()},
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        msg = f"got a manifest with {error!r:.200}; expected the fields that jaxrnn writes"
        raise CheckpointError(msg) from None
    return manifest
