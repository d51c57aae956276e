"""Problems without numbers, rows with chosen times, and contenders that do as they are told."""

import numpy as np

import jaxrnn
from jaxrnn.bench import TEXTBOOK, Case, Contender, Program, choose_contenders, make_problem

TINY = Case(2, 5, 3, 4)


def tiny(kind="lstm"):
    return make_problem(kind, TINY)


def described(kind, case, platform="cpu"):
    """A problem of any size that holds shapes only."""
    import jax

    cell = jaxrnn.CELLS[kind].make(case.inputs, case.hidden)
    params = jax.eval_shape(cell.init, jax.random.key(0))
    return tiny(kind)._replace(case=case, cell=cell, params=params, platform=platform)


def textbook():
    return choose_contenders([TEXTBOOK])[0]


def changed(change, name="changed"):
    """The textbook scan with other results, which must not run again once they were seen."""

    def make(problem):
        program = textbook().make(problem)

        def refuse():
            raise AssertionError("was timed")

        return Program(refuse, refuse, lambda: change(program.results()), {})

    return Contender(name, "jaxrnn", make)


def failing(error, name="failing"):
    def make(problem):
        raise error

    return Contender(name, "jaxrnn", make)


def measured(train, infer=None):
    return {
        "status": "measured",
        "train": {"ms": float(train)},
        "infer": {"ms": float(train if infer is None else infer)},
    }


def row(cell="lstm", **contenders):
    facts = {
        name: one if isinstance(one, dict) else measured(*np.atleast_1d(one))
        for name, one in contenders.items()
    }
    return {"cell": cell, **TINY._asdict(), "precision": "fp32", "contenders": facts}
