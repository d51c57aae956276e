"""Meshes: where parameters, states and batches lie on several devices, by JAX's own sharding."""

from jaxrnn.sharding.agreement import check_same as check_same
from jaxrnn.sharding.agreement import gather_texts as gather_texts
from jaxrnn.sharding.batches import batch_specs as batch_specs
from jaxrnn.sharding.collectives import Collective as Collective
from jaxrnn.sharding.collectives import Collectives as Collectives
from jaxrnn.sharding.collectives import collectives as collectives
from jaxrnn.sharding.cost import Cost as Cost
from jaxrnn.sharding.cost import best_splits as best_splits
from jaxrnn.sharding.cost import pays_up_to as pays_up_to
from jaxrnn.sharding.cost import training_cost as training_cost
from jaxrnn.sharding.exchanges import Exchange as Exchange
from jaxrnn.sharding.machines import DEVICES as DEVICES
from jaxrnn.sharding.machines import Device as Device
from jaxrnn.sharding.machines import Link as Link
from jaxrnn.sharding.mesh import mesh as mesh
from jaxrnn.sharding.optimizers import optimizer_specs as optimizer_specs
from jaxrnn.sharding.placing import from_processes as from_processes
from jaxrnn.sharding.placing import shard as shard
from jaxrnn.sharding.placing import unshard as unshard
from jaxrnn.sharding.processes import start_processes as start_processes
from jaxrnn.sharding.specs import param_specs as param_specs
from jaxrnn.sharding.specs import state_specs as state_specs
from jaxrnn.sharding.workload import Network as Network
from jaxrnn.sharding.workload import Split as Split

__all__ = [
    "DEVICES",
    "Collective",
    "Collectives",
    "Cost",
    "Device",
    "Exchange",
    "Link",
    "Network",
    "Split",
    "batch_specs",
    "best_splits",
    "check_same",
    "collectives",
    "from_processes",
    "gather_texts",
    "mesh",
    "optimizer_specs",
    "param_specs",
    "pays_up_to",
    "shard",
    "start_processes",
    "state_specs",
    "training_cost",
    "unshard",
]
