"""A disk that is full, or may only be read; other libraries' checkpoints."""

import errno
import os
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import train

OPTIMIZER = optax.adam(0.1)
BATCH_FN = train.sampled(lambda key: jax.random.normal(key, (4000,)), jax.random.key(0))


def run(checkpoint=None, **options):
    def loss(w, x):
        return jnp.mean((w - x) ** 2)

    return train.fit(loss, jnp.zeros(4000), OPTIMIZER, BATCH_FN, steps=8, chunk=2,
                     checkpoint=checkpoint, **options)  # fmt: skip


def mount(*arguments):
    command = ["mount", "-t", "tmpfs", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"a small disk cannot be made here: {done.stderr}")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 140 kB: three checkpoints of 48 kB do not fit with what is beside."""
    path = tmp_path / "disk"
    path.mkdir()
    mount("-o", "size=140k", "none", str(path))
    yield path
    subprocess.run(["umount", str(path)], check=True)


def bits(result):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(result)]


@pytest.mark.slow
def test_a_training_whose_disk_fills_goes_on_when_there_is_room(small_disk):
    with pytest.raises(OSError, match="fit: got .*make room") as caught:
        run(small_disk, checkpoint_every=2, keep=10)
    assert caught.value.errno == errno.ENOSPC
    left = sorted(os.listdir(small_disk))
    assert left == ["step_00000002", "step_00000004"]
    like = train.init(jnp.zeros(4000), OPTIMIZER)
    assert train.load_checkpoint(small_disk, like).step == 4
    shutil.rmtree(small_disk / "step_00000002")  # the old go only when the new is there
    result = run(small_disk, checkpoint_every=2, keep=1, resume=True)
    assert bits(result) == bits(run())
    assert os.listdir(small_disk) == ["step_00000008"]


@pytest.mark.slow
def test_a_disk_that_is_only_read_is_only_read(small_disk):
    train.save_checkpoint(small_disk, {"n": 1}, step=1)
    mount("-o", "remount,ro", "none", str(small_disk))
    with pytest.raises(OSError, match="save_checkpoint: got .*Read-only") as caught:
        train.save_checkpoint(small_disk, {"n": 2}, step=2)
    assert caught.value.errno == errno.EROFS
    assert train.load_checkpoint(small_disk, {"n": 0}).tree == {"n": 1}


@pytest.mark.slow
def test_a_directory_without_permission_is_refused(tmp_path):
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("to root all is permitted")
    train.save_checkpoint(tmp_path, {"n": 1}, step=1)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="step 2"):
            train.save_checkpoint(tmp_path, {"n": 2}, step=2)
        assert train.load_checkpoint(tmp_path, {"n": 0}).tree == {"n": 1}
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.peer
def test_safetensors_finds_arrays_by_the_names_of_the_documentation(tmp_path):
    package = pytest.importorskip("safetensors.numpy")
    train.fit(lambda p, x: jnp.mean((p["w"] - x[:3]) ** 2), {"w": jnp.zeros(3)}, OPTIMIZER,
              BATCH_FN, steps=2, checkpoint=tmp_path)  # fmt: skip
    found = package.load_file(tmp_path / "step_00000002" / "arrays.safetensors")
    like = train.init({"w": jnp.zeros(3)}, OPTIMIZER)
    np.testing.assert_array_equal(
        found[".params['w']"], train.load_checkpoint(tmp_path, like).tree.params["w"]
    )
    assert found["extra:metrics.loss"].shape == (2,)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_orbax_takes_a_training_state(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    state = run().state
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "x", state._asdict())
    with ocp.StandardCheckpointer() as checkpointer:
        found = train.TrainState(**checkpointer.restore(tmp_path / "x", state._asdict()))
    assert jax.tree.structure(found) == jax.tree.structure(state)
    assert bits(found) == bits(state)
