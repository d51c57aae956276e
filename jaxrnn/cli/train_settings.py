"""What `jaxrnn train` can be told: by options, by a JSON file, by the run that it goes on with."""

import argparse
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxrnn.cli.choices import LIMITS, choose_cells
from jaxrnn.cli.errors import CommandError
from jaxrnn.core.checks import unknown_name
from jaxrnn.tasks import TASKS

__all__ = [
    "FREE",
    "SETTINGS",
    "Setting",
    "add_setting_arguments",
    "cell_names",
    "choose_settings",
    "read_config",
    "typed_settings",
]


class Setting(NamedTuple):
    """One thing that can be told.

    Attributes:
      kind: its type.
      default: None where it follows from others.
      what: for the help.
      low: the least number.
      high: the first number that is too large.
    """

    kind: type
    default: Any
    what: str
    low: float = 0
    high: float = math.inf


_TASKS = "; ".join(f"{name}: {entry.summary}" for name, entry in TASKS.items())

SETTINGS = {
    "data": Setting(str, None, "a UTF-8 text file, or a numeric CSV file (its name ends in .csv)"),
    "task": Setting(str, None, f"{_TASKS}. Default: text, or series for a CSV file"),
    "columns": Setting(str, None, "of a CSV file with a header (default: all)"),
    "cell": Setting(
        str, "lstm", "a name from `jaxrnn cells`, or one for each layer, the lowest first"
    ),
    "layers": Setting(int, None, "layers (default: as many as cells are named)", 1, 2**10),
    "hidden": Setting(int, 64, "hidden size of each layer", *LIMITS["hidden"]),
    "length": Setting(int, 100, "steps of a sequence; copy: of its delay", *LIMITS["length"]),
    "batch": Setting(int, 32, "sequences in a batch", 1, 2**24),
    "seed": Setting(int, 0, "of everything random", *LIMITS["seed"]),
    "lr": Setting(float, 3e-3, "learning rate of Adam"),
    "clip": Setting(float, 1.0, "clip the gradient to this norm; 0: do not"),
    "stateful": Setting(
        bool, False, "read text or series in order and carry the state from batch to batch"
    ),
    "patience": Setting(
        int,
        0,
        "hold the last tenth of a text or series out (of other tasks new sequences) and stop once "
        "so many measurements in a row have found no lower loss there; 0: train on everything",
        0,
        2**31,
    ),
    "validate-every": Setting(int, 100, "steps between two such measurements", 1, 2**31),
    "steps": Setting(int, 1000, "training steps, those of the run gone on with included", 1, 2**31),
    "checkpoint-every": Setting(int, 100, "steps between two checkpoints", 1, 2**31),
    "sample": Setting(int, 200, "characters to write at the end, of a model of text", 0, 2**20),
    "temperature": Setting(float, 0.8, "of these characters: below 1 is more cautious"),
}
# What may change when a run goes on; a file may move, as long as it holds the same.
FREE = {"data", "steps", "checkpoint-every", "sample", "temperature"}
_POSITIVE = {"lr", "temperature"}
_METAVARS = {"data": "PATH", "columns": "A,B,...", "cell": "A,B,..."}


def add_setting_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares an option for each setting; one that is not given is None."""
    for name, setting in SETTINGS.items():
        named = setting.default is not None and setting.kind is not bool
        shown = f"{setting.what} (default: {setting.default})" if named else setting.what
        if setting.kind is bool:
            parser.add_argument(
                f"--{name}", action=argparse.BooleanOptionalAction, default=None, help=shown
            )
            continue
        metavar = {int: "N", float: "X"}.get(setting.kind, "NAME")
        parser.add_argument(
            f"--{name}", type=setting.kind, metavar=_METAVARS.get(name, metavar), help=shown
        )


def read_config(path: str) -> dict[str, Any]:
    """Reads settings from a JSON file.

    Args:
      path: of the file: an object of names of options without dashes in front. An object that has
        ``"settings"``, as the run.json of a run, is one of settings inside.

    Returns:
      The settings, of the right types.

    Raises:
      CommandError: there is none, or it is no such file.
    """
    remedy = 'write for example {"cell": "gru", "layers": 2, "hidden": 128}'
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        msg = f"got --config {path!r}: nothing exists there; expected a file; check the spelling"
        raise CommandError(msg) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        msg = f"got --config {path!r}: {reason}; expected a JSON file; {remedy}"
        raise CommandError(msg) from error
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"got --config {path!r}, no JSON: {error}; expected an object of settings; {remedy}"
        raise CommandError(msg) from error
    if isinstance(found, dict) and isinstance(found.get("settings"), dict):
        found = found["settings"]
    if not isinstance(found, dict):
        kind = type(found).__name__
        msg = f"got --config {path!r} with a {kind}; expected an object of settings; {remedy}"
        raise CommandError(msg)
    return typed_settings(path, found)


def typed_settings(path: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings that a JSON file holds, those that are null left out.

    Args:
      path: of the file, for messages.
      found: its contents.

    Raises:
      CommandError: a name is unknown or a value of another type.
    """
    return {name: _typed(path, name, value) for name, value in found.items() if value is not None}


def _typed(path: str, name: str, value: Any) -> Any:
    if name not in SETTINGS:
        msg = f"{unknown_name('setting', name, SETTINGS)}, in {path!r}"
        raise CommandError(msg)
    kind = SETTINGS[name].kind
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        named = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        msg = f"got {name} = {json.dumps(value)} in {path!r}; expected {named[kind]}"
        raise CommandError(msg)
    return value


def _check(name: str, value: Any) -> None:
    setting = SETTINGS[name]
    if setting.kind is int and not setting.low <= value < setting.high:
        msg = (
            f"got --{name} {value}; expected {setting.low} to {setting.high - 1}; try --{name} "
            f"{max(setting.low, 1)}"
        )
        raise CommandError(msg)
    if setting.kind is float:
        positive = name in _POSITIVE
        if not (math.isfinite(value) and value >= 0 and (value > 0 or not positive)):
            wanted = "a positive number" if positive else "a positive number, or 0"
            msg = f"got --{name} {value}; expected {wanted}; try --{name} {setting.default}"
            raise CommandError(msg)


def choose_settings(
    arguments: argparse.Namespace, config: Mapping[str, Any], stored: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Returns all settings: an option beats the JSON file, which beats the run gone on with.

    Args:
      arguments: what the user wrote.
      config: of `read_config`.
      stored: the settings of the run to go on with; None for a new run.

    Raises:
      CommandError: a number is out of range, the layers and the cells do not agree, or the run gone
        on with has another value of a setting that may not change.
      ValueError: an unknown cell.
    """
    options = {name: getattr(arguments, name.replace("-", "_")) for name in SETTINGS}
    given = {**config, **{name: one for name, one in options.items() if one is not None}}
    defaults = {name: setting.default for name, setting in SETTINGS.items()}
    settings = {**defaults, **(stored or {}), **given}
    for name, value in settings.items():
        if value is not None:
            _check(name, value)
    names = [part.strip() for part in settings["cell"].split(",")]
    for name in dict.fromkeys(names):
        choose_cells(name)
    layers = len(names) if settings["layers"] is None else settings["layers"]
    if len(names) not in (1, layers):
        msg = (
            f"got --layers {layers} with {len(names)} cells, --cell {settings['cell']}; expected "
            "one cell for all layers or one for each; leave --layers out"
        )
        raise CommandError(msg)
    settings["layers"] = layers
    settings["cell"] = ",".join(dict.fromkeys(names) if len(set(names)) == 1 else names)
    for name in SETTINGS.keys() - FREE if stored is not None else ():
        before = stored.get(name, SETTINGS[name].default)
        if settings[name] != before:
            msg = (
                f"got --{name} {settings[name]} to go on with a run of --{name} {before}; "
                f"expected the same; leave --{name} out, or name another --checkpoint"
            )
            raise CommandError(msg)
    return settings


def cell_names(settings: Mapping[str, Any]) -> list[str]:
    """Returns the names of the cells, one a layer, the lowest first."""
    names = settings["cell"].split(",")
    return names * settings["layers"] if len(names) == 1 else names
