"""The leaves of a tree as named plain arrays, and back."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from jaxrnn.train.pieces import Box, box_of, whole_box
from jaxrnn.train.safetensors import DTYPES, dtype_name

__all__ = [
    "Leaf",
    "Plain",
    "boxes_of",
    "describe",
    "differences",
    "named_leaves",
    "plain_leaf",
    "restore",
    "stored_type",
    "to_stored",
]

_PAIRS = {np.dtype(np.complex64): np.dtype(np.float32), np.dtype(np.complex128): np.dtype(float)}
_SCALARS = {bool: np.dtype(bool), int: np.dtype(np.int64), float: np.dtype(float)}
_SCALARS[complex] = np.dtype(complex)


class Leaf(NamedTuple):
    """What a leaf is, its numbers apart.

    Attributes:
      kind: ``array``, ``key`` (a typed random key) or ``scalar`` (a number of Python's).
      dtype: the data type's name; of keys the implementation's, of a number Python's.
      shape: of keys the shape of the array of keys.
      weak_type: whether JAX lets the other operand decide the type of a result.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]
    weak_type: bool = False

    def __str__(self) -> str:
        kind = {"key": f"keys of {self.dtype}", "scalar": f"Python {self.dtype}"}
        return f"{kind.get(self.kind, self.dtype)} {self.shape if self.kind != 'scalar' else ''}"


class Plain(NamedTuple):
    """Stands for an array of NumPy that is expected, for `restore`.

    Attributes:
      dtype: of NumPy.
      shape: the shape.
    """

    dtype: np.dtype
    shape: tuple[int, ...]


_SMALL = ("int2", "int4", "uint2", "uint4", "float4_e2m1fn", "float8_e3m4", "float8_e4m3")
_SMALL += ("float8_e4m3b11fnuz", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
_NAMELESS = [np.dtype(getattr(jnp, name)) for name in _SMALL if hasattr(jnp, name)]
_BY_NAME = {dtype.name: dtype for dtype in (*DTYPES.values(), *_PAIRS, *_NAMELESS)}


def plain_leaf(leaf: Leaf) -> Plain | None:
    """Returns the array of NumPy that a description means, None where it means none."""
    dtype = _BY_NAME.get(leaf.dtype)
    return Plain(dtype, leaf.shape) if dtype is not None and leaf.kind == "array" else None


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _key_data(leaf: Any) -> tuple[str, jax.ShapeDtypeStruct]:
    """Returns the name of the implementation of keys, and what their data are."""
    names = []

    def look(keys):
        names.append(jax.random.key_impl(keys))
        return jax.random.key_data(keys)

    data = jax.eval_shape(look, leaf)
    return names[0], data


def named_leaves(tree: Any, *, by: str) -> dict[str, Any]:
    """Returns the leaves of a tree by the Python expression that reaches them, such as ``.w['a']``.

    Args:
      tree: any tree.
      by: the function the user called, for the message.

    Raises:
      ValueError: two leaves have the same name, as the nodes of a custom class may.
    """
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    found = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    if len(found) < len(leaves):
        msg = (
            f"{by}: got a tree of {len(leaves)} leaves with {len(found)} names; expected a name "
            "for each; give the nodes of the custom class keys of their own"
        )
        raise ValueError(msg)
    return found


def describe(name: str, leaf: Any, *, by: str) -> Leaf:
    """Says what a leaf is.

    Args:
      name: the leaf's name, for the message.
      leaf: an array of JAX or NumPy, the shape and dtype of one, or a number.
      by: the function the user called, for the message.

    Raises:
      TypeError: it cannot be stored.
    """
    if _is_key(leaf):
        impl, _ = _key_data(leaf)
        if isinstance(impl, str):
            return Leaf("key", impl, tuple(leaf.shape))
    elif type(leaf) in _SCALARS:
        return Leaf("scalar", type(leaf).__name__, ())
    elif hasattr(leaf, "dtype") and hasattr(leaf, "shape"):
        dtype = np.dtype(leaf.dtype)
        if dtype_name(dtype) or dtype in _PAIRS or _is_small(dtype):
            weak = bool(getattr(leaf, "weak_type", False))
            return Leaf("array", dtype.name, tuple(leaf.shape), weak)
    kind = getattr(leaf, "dtype", type(leaf).__name__)
    msg = (
        f"{by}: got {kind} at {name or 'the root'}; expected arrays of numbers, random keys and "
        "Python's numbers; leave what is no number out of the tree"
    )
    raise TypeError(msg)


def _is_small(dtype: np.dtype) -> bool:
    """Whether it is one of JAX's types of at most a byte that safetensors has no name for."""
    return dtype.itemsize == 1 and dtype.isbuiltin == 2 and dtype.names is None


def _leaf_dtype(leaf: Any) -> np.dtype:
    return _SCALARS[type(leaf)] if type(leaf) in _SCALARS else np.dtype(leaf.dtype)


def stored_type(leaf: Any) -> tuple[str, tuple[int, ...], str]:
    """Returns the format's dtype and shape that a leaf is stored with, and how it is stored."""
    if _is_key(leaf):
        data = _key_data(leaf)[1]
        return dtype_name(data.dtype), data.shape, "key data"
    dtype, shape = _leaf_dtype(leaf), tuple(getattr(leaf, "shape", ()))
    if dtype in _PAIRS:
        return dtype_name(_PAIRS[dtype]), (*shape, 2), "pairs of real and imaginary part"
    name = dtype_name(dtype)
    return (name, shape, "itself") if name else ("U8", shape, "bytes")


def to_stored(name: str, leaf: Any, *, by: str) -> np.ndarray:
    """Returns a leaf's numbers as the array that is stored.

    Args:
      name: the leaf's name, for the message.
      leaf: an array of JAX or NumPy, or a number.
      by: the function the user called, for the message.

    Raises:
      ValueError: a Python integer does not fit into 64 bits, or the array lies on devices of
        another process alone.
    """
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        if not leaf.size:  # of which there is nothing to fetch
            kind, shape, _ = stored_type(leaf)
            return np.zeros(shape, DTYPES[kind])
        if not leaf.is_fully_replicated or not leaf.addressable_shards:
            msg = (
                f"{by}: got an array at {name or 'the root'} of which this process holds a part "
                "or nothing; expected all of it, or an array over all processes; place it anew"
            )
            raise ValueError(msg)
        leaf = leaf.addressable_shards[0].data
    if _is_key(leaf):
        if len(leaf.sharding.device_set) == 1:  # on one device, or for each there is a program
            leaf = jax.device_put(leaf, jax.local_devices()[0])
        return np.asarray(jax.random.key_data(leaf))
    try:
        values = np.asarray(leaf, _leaf_dtype(leaf))
    except OverflowError:
        msg = f"{by}: got the integer {leaf} at {name or 'the root'}; expected one of 64 bits"
        raise ValueError(msg) from None
    kind, shape, _ = stored_type(leaf)
    values = np.ascontiguousarray(values, _native(values.dtype))
    return values.reshape(-1).view(DTYPES[kind]).reshape(shape)


def _spread(like: Any) -> jax.sharding.Sharding | None:
    """Returns the sharding over several devices that an array is to get, None for no such."""
    sharding = _wanted_sharding(like)
    return sharding if sharding is not None and len(sharding.device_set) > 1 else None


def _wanted_sharding(like: Any) -> jax.sharding.Sharding | None:
    """Returns the sharding that is asked for: of a shape its own, of an array one it is tied to."""
    if not isinstance(like, jax.ShapeDtypeStruct) and not getattr(like, "committed", False):
        return None
    abstract = isinstance(getattr(like.sharding, "mesh", None), jax.sharding.AbstractMesh)
    return None if abstract else like.sharding


def boxes_of(like: Any) -> list[Box]:
    """Returns the boxes of an array that this process needs, to make one like another.

    Args:
      like: an array, the shape of one, or a number. Where it lies over several devices each needs
        its own box, otherwise it is the whole array.

    Example:
      >>> boxes_of(np.zeros((3, 2)))
      [((0, 3), (0, 2))]
    """
    shape, sharding = tuple(getattr(like, "shape", ())), _spread(like)
    if sharding is None:
        return [whole_box(shape)]
    indices = sharding.addressable_devices_indices_map(shape).values()
    return list(dict.fromkeys(box_of(index, shape) for index in indices))


def restore(like: Any, weak_type: bool, stored: Mapping[Box, np.ndarray]) -> Any:
    """Returns what `to_stored` took apart.

    Args:
      like: a leaf of the same kind, shape and dtype; of a JAX array the new one gets the sharding.
      weak_type: whether the type of the result is weak.
      stored: what is stored, by the boxes that `boxes_of` says.
    """
    shape, sharding = tuple(getattr(like, "shape", ())), _spread(like)
    if sharding is not None:
        return _restore_spread(like, weak_type, stored, sharding)
    values = stored[whole_box(shape)]
    if _is_key(like):
        keys = jax.random.wrap_key_data(jnp.array(values), impl=_key_data(like)[0])
        return _placed(keys, like)
    dtype = _leaf_dtype(like)
    values = _as_native(values, dtype, shape)
    if type(like) in _SCALARS:
        return values.item()
    if not isinstance(like, jax.Array | jax.ShapeDtypeStruct):
        values = values.astype(dtype)
        return values[()] if isinstance(like, np.generic) else values
    with jax.enable_x64(True):  # or an array of 64 bits would lose half of them
        made = jnp.array(values)
    if weak_type:
        made = _weak(made)
    return _placed(made, like)


def _restore_spread(
    like: Any, weak_type: bool, stored: Mapping[Box, np.ndarray], sharding: jax.sharding.Sharding
) -> jax.Array:
    """Makes an array over several devices, of which each gets its box."""
    shape = tuple(like.shape)

    def values(index):
        box = box_of(index, shape)
        if _is_key(like):
            return jax.random.wrap_key_data(jnp.array(stored[box]), impl=_key_data(like)[0])
        return _as_native(stored[box], _leaf_dtype(like), tuple(b - a for a, b in box))

    with jax.enable_x64(True):
        made = jax.make_array_from_callback(shape, sharding, values)
    return jax.device_put(_weak(made), sharding) if weak_type else made


def _with_weak_type(made: jax.Array) -> jax.Array:
    weak = jnp.broadcast_to(jnp.asarray(made.dtype.type(0).item()), made.shape)
    return weak.at[...].set(made)  # an update keeps the type of what is updated, weak as it is


def _weak(made: jax.Array) -> jax.Array:
    """Returns an array with a weak type, where its dtype is one that a weak type can have."""
    if jnp.asarray(made.dtype.type(0).item()).dtype != made.dtype:
        return made
    run, sharding = _with_weak_type, made.sharding
    if AxisType.Explicit in getattr(getattr(sharding, "mesh", None), "axis_types", ()):
        run = jax.sharding.auto_axes(run, out_sharding=sharding)
    return jax.jit(run)(made)


def _as_native(stored: np.ndarray, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Returns what is stored as numbers of a dtype."""
    return np.ascontiguousarray(stored).reshape(-1).view(_native(dtype)).reshape(shape)


def _native(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def _placed(made: jax.Array, like: Any) -> jax.Array:
    sharding = _wanted_sharding(like)
    return made if sharding is None else jax.device_put(made, sharding)


def differences(got: Mapping[str, Leaf], expected: Mapping[str, Leaf]) -> list[str]:
    """Lists the leaves in which two trees differ, one a line.

    Args:
      got: what there is, by name.
      expected: what there should be.

    Returns:
      Lines; none where the trees agree.

    Example:
      >>> differences({".w": Leaf("array", "float32", (3,))}, {".w": Leaf("array", "int32", (3,))})
      ['.w: got float32 (3,); expected int32 (3,)']
    """
    lines = []
    for name in [*expected, *(name for name in got if name not in expected)]:
        one, other = (found.get(name) for found in (got, expected))
        same = one and other and one._replace(weak_type=other.weak_type) == other
        if not same:
            words = [str(leaf).strip() if leaf else "nothing" for leaf in (one, other)]
            lines.append(f"{name or 'the root'}: got {words[0]}; expected {words[1]}")
    return lines
