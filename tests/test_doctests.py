"""Every example in a docstring of jaxrnn runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import jaxrnn

MODULES = sorted(
    {"jaxrnn"}
    | {
        module.name
        for module in pkgutil.walk_packages(jaxrnn.__path__, "jaxrnn.")
        if not module.name.endswith(".__main__")  # importing it would run the command
    }
)

# Their examples compile for seconds; the same functions are tested by default elsewhere.
COSTLY = ("analysis", "testing", "train.losses", "train.monitor", "interop.stablehlo")


# Cells are made and stepped by other tests too; one of these examples is like another.
FEW = {f"jaxrnn.cells.{part}" for part in ("elman", "lstm", "gru", "ct_rnn", "lru", "entry")}


# Their examples are of models of other libraries.
OF_OTHERS = {f"jaxrnn.interop.foreign_{one}": one for one in ("equinox", "flax", "haiku")}
OF_OTHERS["jaxrnn.interop.onnx"] = "onnx"


def marked(name):
    if name in OF_OTHERS:
        return pytest.param(name, marks=pytest.mark.peer)
    slow = name.startswith(tuple(f"jaxrnn.{part}" for part in COSTLY))
    slow |= name.startswith("jaxrnn.cells.") and name not in FEW
    return pytest.param(name, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize("name", [marked(name) for name in MODULES])
def test_doctests(name, tmp_path, monkeypatch):
    if name in OF_OTHERS:
        pytest.importorskip(OF_OTHERS[name])
    monkeypatch.chdir(tmp_path)  # an example that writes a file writes it here
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples of {name} fail"


def test_an_example_that_is_wrong_fails():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test, out=lambda _: None).failed == 1
