"""The lines of docs/interop_modules.md run as they stand there, and do what they say."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import interop

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "interop_modules.md"
TEXT = DOCS.read_text(encoding="utf-8")


def blocks(section):
    """The code of a section: from its heading to the next of any level."""
    _, found, rest = TEXT.partition(f"# {section}\n")
    assert found, f"no section {section!r}"
    rest = re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```python\n(.*?)^```", rest, flags=re.MULTILINE | re.DOTALL)


def run(*sections):
    names = {}
    for section in sections:
        for code in blocks(section):
            exec(compile(code, f"{DOCS.name}: {section}", "exec"), names)
    return names


def test_every_reader_stands_in_the_table():
    for name in ("from_flax", "from_nnx", "from_haiku", "from_equinox", "from_torch"):
        assert f"`{name}(" in TEXT
        assert callable(getattr(interop, name))
    assert len(re.findall("^```python", TEXT, flags=re.MULTILINE)) == 6


HEADS = ["Your model as a cell", "A layer inside your model"]


@pytest.mark.peer
@pytest.mark.parametrize("section", ["flax.linen", "flax.nnx", "haiku", "equinox"])
def test_a_layer_of_ours_inside_a_module(section, capsys):
    pytest.importorskip("flax")
    pytest.importorskip(section.partition(".")[0])
    names = run(*HEADS, section)
    assert len(capsys.readouterr().out.splitlines()) == 2
    model, net, xs, ys = (names[name] for name in ("model", "net", "xs", "ys"))

    if section == "flax.nnx":
        from flax import nnx

        graph, variables = nnx.split(model)

        def apply(variables, xs):
            return nnx.merge(graph, variables)(xs)
    elif section == "equinox":
        import equinox as eqx

        variables, rest = eqx.partition(model, eqx.is_array)

        def apply(variables, xs):
            return eqx.combine(variables, rest)(xs)
    else:
        variables, apply = names["variables"], model.apply

    # The leaves are those of the layer, in its order: the module adds nothing of its own.
    params = jax.tree.unflatten(
        jax.tree.structure(net.init(jax.random.key(0))), jax.tree.leaves(variables)
    )
    expected = net.apply(params, xs)[1]
    np.testing.assert_allclose(ys, expected, atol=1e-6)
    got = jax.grad(lambda v: jnp.sum(apply(v, xs) ** 2))(variables)
    right = jax.grad(lambda p: jnp.sum(net.apply(p, xs)[1] ** 2))(params)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(right), strict=True):
        assert np.any(np.asarray(one) != 0)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
