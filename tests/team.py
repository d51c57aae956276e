"""Several processes as threads of one: each has its own of the devices, as if it were a process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import jax

from jaxrnn.train.checkpoint import load_contents, write_snapshot
from jaxrnn.train.snapshot import snapshot
from jaxrnn.train.together import Processes

TOKEN = "0123456789abcdef"


class Team:
    """Processes that write and read checkpoints together; devices are dealt out in order."""

    def __init__(self, count, token=TOKEN):
        self.count, self.token, self.words = count, token, [""] * count
        self.barrier = threading.Barrier(count, timeout=30)

    def _exchange(self, index):
        def exchange(word):
            self.words[index] = word
            self.barrier.wait()
            words = list(self.words)
            self.barrier.wait()
            return words

        return exchange

    def run(self, function):
        """Calls a function of `Processes` in each, and returns what they return or raise."""
        each = len(jax.devices()) // self.count

        def one(index):
            exchange = self._exchange(index)
            processes = Processes(index, self.count, exchange, lambda device: device.id // each)
            try:
                return function(processes)
            except BaseException as error:
                return error

        with ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(one, range(self.count)))

    def save(self, directory, tree, step=5, keep=3, **options):
        """Saves a tree, or what a function of `Processes` returns."""

        def write(processes):
            own = tree(processes) if callable(tree) else tree
            taken = snapshot(own, step=step, processes=processes, token=self.token, **options)
            return write_snapshot(directory, taken, keep)

        return self.run(write)

    def load(self, directory, like, step=None):
        def read(processes):
            return load_contents(
                directory, like, step=step, by="load_checkpoint", level=1, processes=processes
            )

        return self.run(read)
