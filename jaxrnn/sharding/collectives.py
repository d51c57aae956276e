"""What the devices of a mesh send each other: the collectives of a compiled program."""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from jaxrnn.sharding.hlo import Line, Module, array_bytes, read_modules, top_level

__all__ = ["Collective", "Collectives", "collectives", "share_sent"]

_BY = "collectives"
_KINDS = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all",
    "collective-permute", "collective-broadcast",
)  # fmt: skip
_NAMED = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\([^{]*\))?\s*\{([^}]*)\}")


def share_sent(kind: str, group_size: int) -> float:
    """Returns what a device sends at least, as a part of the larger of operand and result."""
    if kind in ("collective-permute", "collective-broadcast"):
        return 1.0 if group_size else 0.0
    halves = 2 if kind == "all-reduce" else 1
    return halves * (group_size - 1) / group_size


class Collective(NamedTuple):
    """One collective of a program, as one device sees it.

    Attributes:
      kind: "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "ragged-all-to-all",
        "collective-permute" or "collective-broadcast".
      operand_bytes: what a device puts in, at one execution.
      result_bytes: what it gets out.
      group_size: how many devices exchange something; of a permutation, how many receive.
      loops: how often the loops around it run, the outermost first: ``()`` outside of all loops,
        None for a loop of which the compiler does not know it.
      conditional: whether it stands in a branch, which may not be taken.
      name: the instruction's name in the program's text.
    """

    kind: str
    operand_bytes: int
    result_bytes: int
    group_size: int
    loops: tuple[int | None, ...]
    conditional: bool
    name: str

    @property
    def times(self) -> int | None:
        """How often it is executed each time the program runs; None where that is not known."""
        return None if None in self.loops else math.prod(self.loops)

    @property
    def bytes_sent(self) -> float:
        """What a device sends at least, at one execution.

        For a buffer of S bytes (the larger of operand and result) in a group of n devices
        ``2 (n - 1) / n S`` for an all-reduce, S for a permutation or a broadcast, and
        ``(n - 1) / n S`` for the others. A device at the edge of a permutation sends nothing.
        """
        buffer = max(self.operand_bytes, self.result_bytes)
        return share_sent(self.kind, self.group_size) * buffer

    def __str__(self):
        loops = ["?" if trips is None else str(trips) for trips in self.loops]
        where = f"in a loop of {' x '.join(loops)}" if loops else "once"
        return (
            f"{self.kind} {self.operand_bytes:,} -> {self.result_bytes:,} bytes, group of "
            f"{self.group_size}, {where}{', in a branch' if self.conditional else ''}"
        )


class Collectives(tuple):
    """The collectives of a program: a tuple of `Collective`, which prints as one line each.

    Sums are over what runs; they are None where a loop runs an unknown number of times, and at most
    so much where something stands in a branch.
    """

    __slots__ = ()

    def of(self, kind: str) -> "Collectives":
        """Those of one kind."""
        if kind not in _KINDS:
            msg = f"{_BY}: got kind {kind!r}; expected one of {', '.join(_KINDS)}"
            raise ValueError(msg)
        return Collectives(row for row in self if row.kind == kind)

    @property
    def in_loops(self) -> "Collectives":
        """Those in the body of a loop."""
        return Collectives(row for row in self if row.loops)

    @property
    def kinds(self) -> dict[str, int]:
        """How many of each kind stand in the program, a loop's body counted once."""
        found = [row.kind for row in self]
        return {kind: found.count(kind) for kind in _KINDS if kind in found}

    @property
    def times(self) -> int | None:
        """How many collectives are executed each time the program runs."""
        return _total(row.times for row in self)

    @property
    def bytes_sent(self) -> float | None:
        """The bytes that a device sends at least, each time the program runs."""
        return _total(None if row.times is None else row.times * row.bytes_sent for row in self)

    def __str__(self):
        times, sent = self.times, self.bytes_sent
        total = (
            "executed an unknown number of times"
            if times is None
            else f"{times:,} executed, {sent:,.0f} bytes sent by a device"
        )
        return "\n".join([f"{len(self)} collectives, {total}", *(f"  {row}" for row in self)])


def _total(values) -> Any:
    values = list(values)
    return None if None in values else sum(values)


def _kind(line: Line) -> str | None:
    """The kind of a collective that is started here; of a pair the end is left out."""
    kind = line.opcode.removesuffix("-start")
    return kind if kind in _KINDS else None


def _group_size(line: Line, kind: str, devices: int) -> int:
    if kind == "collective-permute":
        found = re.search(r"source_target_pairs=\{([\d,{}\s]*)\}", line.rest)
        pairs = [] if found is None else re.findall(r"\{(\d+),\s*(\d+)\}", found[1])
        return sum(source != target for source, target in pairs)
    found = re.search(r"replica_groups=(\S*)", line.rest)
    if found is None or found[1].startswith("{}"):
        return devices
    if listed := re.match(r"\{\{([\d,]*)\}", found[1]):
        return listed[1].count(",") + 1
    if computed := re.match(r"\[(\d+),(\d+)\]<=\[", found[1]):  # groups, devices of each
        return int(computed[2])
    if named := _NAMED.match(line.rest, found.start()):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", named[1]))
        axes = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", named[2])  # or a part of an axis
        return math.prod(int(part or sizes[name]) for name, part in axes)
    msg = (
        f"{_BY}: got {line.opcode} with replica_groups={found[1]}; expected a form such as "
        "{{0,1},{2,3}}, [2,2]<=[4] or mesh['a'=2,'b'=2] {'a'}; this version of XLA writes programs "
        "that this version of jaxrnn cannot read"
    )
    raise ValueError(msg)


def _read(line: Line, kind: str, module: Module, loops, conditional) -> Collective:
    result = line.shape
    if line.opcode.endswith("-start") and kind != "all-reduce":
        result = top_level(line.shape)[1]  # operands, results, and what the device needs itself
    group, received = _group_size(line, kind, module.devices), array_bytes(result)
    given = received
    if kind == "all-gather":
        given = received // group
    elif kind == "reduce-scatter":
        given = received * group
    return Collective(kind, given, received, group, loops, conditional, line.name)


def _walk(module: Module, name: str, busy: set[str], loops, conditional) -> Iterator[Collective]:
    """Follows a computation in the order of its lines, down into those that hold a collective."""
    for line in module.computations.get(name, ()):
        kind = _kind(line)
        if kind is not None:
            yield _read(line, kind, module, loops, conditional)
            continue
        if line.opcode.endswith(("-done", "-update")):
            continue
        trips = line.trip_count()
        around = {
            "body": (*loops, trips),
            "condition": (*loops, None if trips is None else trips + 1),
        }
        for how, called in line.called():
            if called in busy:
                yield from _walk(
                    module, called, busy, around.get(how, loops), conditional or how == "branch"
                )


def _busy(module: Module) -> set[str]:
    """The computations that hold a collective, themselves or in those they run."""
    callers: dict[str, set[str]] = {}
    found = set()
    for name, lines in module.computations.items():
        for line in lines:
            if _kind(line) is not None:
                found.add(name)
            for _, called in line.called():
                callers.setdefault(called, set()).add(name)
    fresh = list(found)
    while fresh:
        new = callers.get(fresh.pop(), set()) - found
        found |= new
        fresh += new
    return found


def collectives(compiled: Any) -> Collectives:
    """Lists what the devices send each other in a compiled program.

    It reads the program that XLA made, after all its optimisations: what the devices will do, not
    what the source asks for. An exchange in two halves (``-start``, ``-done``) is one.

    Args:
      compiled: ``jax.jit(f).lower(...).compile()``, or its text, ``compiled.as_text()``.

    Returns:
      One row for each collective, in the order of the program's text; a computation that is called
      at several places has its rows at each of them. Printed it is a summary.

    Raises:
      TypeError: `compiled` is neither of these; a program that is only lowered has no collectives
        yet.
      ValueError: the text is not that of a compiled program, or of one in a form that is not known.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jax.sharding import AxisType, NamedSharding, PartitionSpec
      >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
      >>> x = jax.device_put(jnp.ones((8, 4)), NamedSharding(mesh, PartitionSpec("data")))
      >>> found = collectives(jax.jit(jnp.sum).lower(x).compile())
      >>> print(found)  # one device sends nothing
      0 collectives, 0 executed, 0 bytes sent by a device
      >>> found.kinds, found.of("all-gather").times, found.bytes_sent
      ({}, 0, 0)

    Reference:
      R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of collective communication operations in
      MPICH", 2005: the bytes that a collective sends at least.
    """
    text = compiled
    if not isinstance(text, str):
        if isinstance(compiled, jax.stages.Lowered) or not hasattr(compiled, "as_text"):
            msg = (
                f"{_BY}: got {type(compiled).__name__}; expected a compiled program or its text; "
                "pass jax.jit(f).lower(...).compile()"
            )
            raise TypeError(msg)
        text = compiled.as_text()
    modules = [module for module in read_modules(text) if module.entry]
    if not modules:
        msg = (
            f"{_BY}: got a text of {len(text)} characters without an HloModule that has an ENTRY; "
            "expected that of a compiled program; pass jax.jit(f).lower(...).compile()"
        )
        raise ValueError(msg)
    return Collectives(
        row for module in modules for row in _walk(module, module.entry, _busy(module), (), False)
    )
