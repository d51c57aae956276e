"""The mesh: its axes, its devices, and what it refuses."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

import jaxrnn
from cases import needs_eight
from jaxrnn.sharding import mesh
from jaxrnn.sharding.mesh import check_mesh


@needs_eight
def test_axes_devices_and_types():
    made = mesh(data=2, time=2, model=2)
    assert made.axis_names == ("data", "time", "model")
    assert made.axis_types == (AxisType.Auto,) * 3
    # "model" innermost: devices that follow each other.
    ids = np.vectorize(lambda device: device.id)(made.devices)
    np.testing.assert_array_equal(ids, np.arange(8).reshape(2, 2, 2))
    assert mesh(model=2, explicit=True).axis_types == (AxisType.Explicit,) * 3
    assert mesh().devices.tolist() == [[[jax.devices()[0]]]]


@needs_eight
def test_all_that_are_left_and_devices_of_ones_own():
    assert dict(mesh(data=-1, model=2).shape) == {"data": 4, "time": 1, "model": 2}
    assert dict(mesh(time=-1).shape) == {"data": 1, "time": 8, "model": 1}
    last = jax.devices()[::-1][:4]
    assert mesh(data=2, model=2, devices=last).devices.ravel().tolist() == last
    assert mesh(model=-1, devices=last).shape["model"] == 4


@needs_eight
@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"data": 4, "model": 4}, ValueError, r"16 devices; expected at most 8.*use data=2 or mod"),
        ({"data": 9}, ValueError, r"9 devices; expected at most 8, which there are; use data=8"),
        ({"data": 16, "model": 16}, ValueError, r"256 devices.*make more than one axis smaller"),
        ({"data": -1, "model": 16}, ValueError, r"16 devices; expected at most 8.*use model=8"),
        ({"data": -1, "model": 3}, ValueError, r"divisor of 8, not 3; make them take 2, or pass d"),
        ({"data": -1, "time": -1}, ValueError, r"got data=-1, time=-1; expected -1 for one axis"),
        ({"model": 0}, ValueError, r"got model=0; expected a positive number.*model=1"),
        ({"time": -2}, ValueError, r"got time=-2; expected a positive number"),
        ({"data": 2.0}, TypeError, r"got data=2.0 \(float\); expected a number of devices"),
        ({"data": True}, TypeError, r"got data=True \(bool\)"),
    ],
)
def test_wrong_sizes(options, error, text):
    with pytest.raises(error, match=f"^mesh: .*{text}"):
        mesh(**options)


def test_wrong_devices():
    first = jax.devices()[0]
    with pytest.raises(ValueError, match="more than once; expected each device once"):
        mesh(data=2, devices=[first, first])
    with pytest.raises(ValueError, match="2 devices; expected at most 1"):
        mesh(data=2, devices=[first])


class Device:
    """What `mesh` asks of a device."""

    def __init__(self, number, process_index):
        self.id, self.process_index = number, process_index


def test_several_processes(monkeypatch):
    # Two processes of two devices each, listed in another order.
    devices = [Device(number, number // 2) for number in (2, 0, 3, 1)]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(jax, "make_mesh", lambda *args, devices, **_: (*args, devices))
    sizes, _, chosen = mesh(data=2, model=2)
    assert sizes == (2, 1, 2)
    assert [device.id for device in chosen] == [0, 1, 2, 3]  # "model" within a process
    with pytest.raises(ValueError, match="2 of 4 devices of 2 processes; expected all.*data=-1"):
        mesh(data=2)
    with pytest.raises(ValueError, match="none of them of process 0; expected a part.*each of 2"):
        mesh(data=2, devices=[device for device in devices if device.process_index == 1])
    assert len(mesh(data=2, devices=[devices[0], devices[1]])[2]) == 2
    own = [device for device in devices if device.process_index == 0]
    assert mesh(data=2, devices=own)[2] == own  # a mesh of this process alone


def test_check_mesh():
    own = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    with pytest.raises(
        ValueError, match="^f: got a mesh with the axes 'data'; .*'model', one of si"
    ):
        check_mesh(own, by="f")
    with pytest.raises(TypeError, match="^f: got mesh of type dict; expected a jax.sharding.Mesh"):
        check_mesh({"data": 1}, by="f")
    assert check_mesh(jaxrnn.sharding.mesh(), by="f").size == 1
