"""The text of a compiled program: its computations, and what each of their lines says."""

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Line", "Module", "array_bytes", "read_modules", "top_level"]

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+)\b.*\{\s*$")
_START = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*)$")
_CALLED = re.compile(
    r"\b(to_apply|calls|body|condition|true_computation|false_computation)=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"?(\d+)"?\}')
_ARRAY = re.compile(r"\b([a-z]+)(\d*)(?:[a-z]\w*)?\[([\d,<=]*)\]")


class Line(NamedTuple):
    """One instruction.

    Attributes:
      name: of the instruction.
      shape: of its result, as text; a tuple stands in parentheses.
      opcode: such as ``all-reduce``.
      rest: operands and attributes, as text.
    """

    name: str
    shape: str
    opcode: str
    rest: str

    def called(self) -> list[tuple[str, str]]:
        """The computations that it runs: pairs of how (``body``, ``branch``, ...) and name."""
        found = _CALLED.findall(self.rest)
        for names in _BRANCHES.findall(self.rest):
            found += [("branch", name.strip().lstrip("%")) for name in names.split(",")]
        renamed = {"true_computation": "branch", "false_computation": "branch"}
        return [(renamed.get(how, how), name) for how, name in found]

    def trip_count(self) -> int | None:
        """How often the body of a loop runs, where the compiler knows it."""
        found = _TRIPS.search(self.rest)
        return None if found is None else int(found[1])


class Module(NamedTuple):
    """One program.

    Attributes:
      entry: the name of the computation that it starts with.
      computations: lines by the name of their computation.
      devices: how many devices run it together.
    """

    entry: str
    computations: dict[str, list[Line]]
    devices: int


def top_level(text: str) -> list[str]:
    """Splits what stands between a pair of parentheses at its commas, not at those deeper inside.

    Args:
      text: begins with ``(``; what follows the closing one is left out.

    Returns:
      The parts, without blanks at their ends; none of an empty pair.
    """
    parts, depth, start = [], 0, 1
    for at, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        if (char == "," and depth == 1) or depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
        if depth == 0:
            break
    return [part for part in parts if part]


def _closing(text: str) -> int:
    """The place behind the parenthesis that closes the first one."""
    depth = 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return at + 1
    return len(text)


def array_bytes(shape: str) -> int:
    """Returns the bytes of all arrays that a shape names, as in ``(f32[4,2]{1,0}, s32[])``."""
    bits = 0
    for kind, digits, sizes in _ARRAY.findall(shape):
        if kind in ("token", "opaque"):
            continue
        count = 1
        for size in re.findall(r"\d+", sizes):
            count *= int(size)
        bits += count * (8 if kind == "pred" else int(digits))
    return -(-bits // 8)


def _read_line(text: str) -> Line | None:
    found = _START.match(text)
    if found is None:
        return None
    name, right = found.groups()
    end = _closing(right) if right.startswith("(") else right.find(" ")
    shape, right = right[:end], right[end:].lstrip()
    opcode, bracket, rest = right.partition("(")
    return Line(name, shape, opcode, bracket + rest) if bracket else None


def _header_number(header: str, name: str) -> int:
    found = re.search(rf"\b{name}=(\d+)", header)
    return 1 if found is None else int(found[1])


def read_modules(text: str) -> Iterator[Module]:
    """Reads the text of a compiled program, which may hold several modules.

    Args:
      text: as of ``compiled.as_text()``.

    Yields:
      Each module.
    """
    for part in re.split(r"(?m)^(?=HloModule )", text):
        if not part.startswith("HloModule "):
            continue
        header, *lines = part.splitlines()
        computations, entry, current = {}, "", None
        for line in lines:
            if current is None:
                found = _HEADER.match(line)
                if found is not None and " = " not in line.partition("(")[0]:
                    current = computations.setdefault(found[2], [])
                    entry = found[2] if found[1] else entry
            elif line.strip().startswith("}"):
                current = None
            elif (instruction := _read_line(line)) is not None:
                current.append(instruction)
        devices = _header_number(header, "num_partitions") * _header_number(header, "replica_count")
        yield Module(entry, computations, devices)
