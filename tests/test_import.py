"""Importing jaxrnn is light: it loads no extra and starts no device."""

import json
import os
import subprocess
import sys

import pytest

DEPENDENCIES = "import chex, jax, jaxlib, numpy, optax"
LIST_MODULES = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def python(code: str, cwd, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def loaded_by(code: str, cwd) -> set[str]:
    run = python(f"{code}\n{LIST_MODULES}", cwd)
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory) -> set[str]:
    return loaded_by(DEPENDENCIES, tmp_path_factory.mktemp("dependencies"))


@pytest.mark.parametrize("module", ["jaxrnn", "jaxrnn.cli"])
def test_import_loads_the_dependencies_and_no_more(module, dependencies, tmp_path):
    loaded = loaded_by(f"{DEPENDENCIES}\nimport {module}", tmp_path)
    packages = {name.partition(".")[0] for name in loaded - dependencies}
    packages -= {name.partition(".")[0] for name in dependencies}
    assert packages - sys.stdlib_module_names == {"jaxrnn"}
    assert not [name for name in loaded - dependencies if name.startswith("scipy.")]


@pytest.mark.parametrize("module", ["jaxrnn", "jaxrnn.cli"])
def test_import_starts_no_backend(module, tmp_path):
    # jax reads this name only when it starts a backend, and then fails.
    run = python(f"import {module}", tmp_path, JAX_PLATFORMS="nonexistent")
    assert run.returncode == 0, run.stderr


def test_a_started_backend_would_have_failed(tmp_path):
    code = "import jaxrnn, jax\njax.devices()"
    run = python(code, tmp_path, JAX_PLATFORMS="nonexistent")
    assert run.returncode != 0
    assert "nonexistent" in run.stderr


def test_the_benchmark_is_not_loaded_with_the_library(tmp_path):
    loaded = loaded_by("import jaxrnn", tmp_path)
    assert not [name for name in loaded if name.startswith(("jaxrnn.bench", "jaxrnn.cli"))]
