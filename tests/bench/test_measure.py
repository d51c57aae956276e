"""Contenders are compared before they are timed, and each one is accounted for."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from bench.problems import changed, failing, textbook, tiny
from cases import first_of
from jaxrnn.bench import (
    CONTENDERS,
    Contender,
    Program,
    Unavailable,
    as_json,
    choose_contenders,
    make_problem,
    measure_machine,
    measure_problem,
    record,
    unroll_contender,
)
from jaxrnn.bench.check import errors, find_fault
from jaxrnn.bench.measure import reference_results
from jaxrnn.bench.problem import default_precision
from jaxrnn.bench.program import Model, compile_model, mapped_back

OWN = choose_contenders(["fused", "fused_outputs", "unroll", "textbook"])


def facts_of(*contenders, kind="lstm", rounds=1, **options):
    return measure_problem(tiny(kind), contenders, rounds=rounds, **options)["contenders"]


@pytest.mark.parametrize("kind", first_of(["lstm", "gru", "elman"]))
def test_the_librarys_own_ways_are_right_and_timed(kind):
    problem = tiny(kind)
    machine = measure_machine(problem, size=16)
    row = measure_problem(problem, OWN, rounds=3, machine=machine)
    assert [row[name] for name in ("cell", "batch", "steps", "inputs", "hidden")] == [
        kind, *problem.case,
    ]  # fmt: skip
    assert set(row["floor_ms"]) == {"train", "infer"}
    for name, facts in row["contenders"].items():
        assert facts["status"] == "measured", name
        assert set(facts["errors"]) == {"outputs", "inputs", "parameters"}
        assert max(facts["errors"].values()) < 1e-5
        assert facts["compile_s"] > 0 and facts["temporary_mb"] >= 0
        for mode in ("train", "infer"):
            figures = facts[mode]
            assert 0 < figures["p10_ms"] <= figures["ms"] <= figures["p90_ms"]
            assert figures["us_per_step"] == pytest.approx(1e3 * figures["ms"] / 5)
            over = figures["ms"] / row["floor_ms"][mode]
            assert figures["over_floor"] == pytest.approx(over)


def moved(part, factor=1.001):
    def change(results):
        found = getattr(results, part)
        if part == "parameters":
            return results._replace(parameters=found._replace(b=found.b * factor))
        return results._replace(**{part: found * factor})

    return change


@pytest.mark.parametrize(
    "part, named",
    [
        ("outputs", "outputs off by 1.0e-03"),
        pytest.param("inputs", "gradient of the inputs off by 1.0e-03", marks=pytest.mark.slow),
        ("parameters", "gradients of the parameters off by 1.0e-03"),
    ],
)
def test_a_wrong_contender_is_reported_and_not_timed(part, named):
    facts = facts_of(changed(moved(part)), textbook())
    assert facts["changed"]["status"] == "wrong"
    assert named in facts["changed"]["reason"] and "1e-04" in facts["changed"]["reason"]
    assert "train" not in facts["changed"]
    assert facts["textbook"]["status"] == "measured"


@pytest.mark.parametrize("part", first_of(["outputs", "inputs", "parameters"]))
def test_what_is_no_number_or_has_another_shape_is_wrong(part):
    assert facts_of(changed(moved(part, np.nan)))["changed"]["status"] == "wrong"

    def shorter(results):
        return results._replace(outputs=results.outputs[1:])

    assert facts_of(changed(shorter))["changed"]["status"] == "wrong"


def test_a_cell_with_other_equations_is_wrong():
    def doubled(cell, params, xs):
        return CONTENDERS["unroll"], 2 * textbook_outputs(cell, params, xs)

    def textbook_outputs(cell, params, xs):
        from jaxrnn.bench import textbook_scan

        return textbook_scan(cell, params, xs)[1]

    assert facts_of(unroll_contender("doubled", doubled))["doubled"]["status"] == "wrong"


def test_more_is_allowed_in_tf32():
    problem = tiny()
    found = {"outputs": 1e-3, "inputs": 1e-3, "parameters": 0.0}
    assert find_fault(found, problem) is not None
    assert find_fault(found, problem._replace(precision="tf32")) is None
    off = find_fault(found | {"inputs": 0.1}, problem._replace(precision="tf32"))
    assert off.startswith("gradient of the inputs off by 1.0e-01") and off.endswith("in tf32")


def test_errors_are_parts_of_the_largest_value():
    expected = reference_results(tiny())
    largest = np.abs(expected.outputs).max()
    got = expected._replace(outputs=expected.outputs + 0.25 * largest)
    assert errors(got, expected)["outputs"] == pytest.approx(0.25)
    assert errors(got, expected)["inputs"] == 0


def test_a_missing_library_is_reported_with_how_to_install_it():
    ghost = Contender("ghost", "no_such_library", lambda problem: 1 / 0)
    facts = facts_of(ghost, textbook())
    assert facts["ghost"] == {
        "status": "not installed",
        "reason": (
            "no_such_library is not installed; install it with: pip install 'jaxrnn[peers]'"
        ),
    }
    assert facts["textbook"]["status"] == "measured"


def test_what_fails_or_does_not_apply_says_why():
    facts = facts_of(
        failing(ValueError("no such layer\nmore"), "one"),
        failing(Unavailable("has no such cell"), "two"),
        failing(MemoryError(), "three"),
        textbook(),
    )
    assert facts["one"] == {"status": "failed", "reason": "ValueError: no such layer"}
    assert facts["two"] == {"status": "not applicable", "reason": "has no such cell"}
    assert facts["three"] == {"status": "failed", "reason": "MemoryError"}
    assert facts["textbook"]["status"] == "measured"


def test_an_interruption_is_no_result():
    with pytest.raises(KeyboardInterrupt):
        facts_of(failing(KeyboardInterrupt()))


def test_what_fails_while_it_is_timed_is_reported():
    def make(problem):
        program = textbook().make(problem)
        calls = []

        def train():
            calls.append(1)
            if len(calls) == 3:
                raise RuntimeError("out of memory")

        return Program(train, program.infer, program.results, {})

    facts = facts_of(Contender("late", "jaxrnn", make), textbook(), rounds=4)
    assert facts["late"] == {"status": "failed", "reason": "RuntimeError: out of memory"}
    assert facts["textbook"]["infer"]["ms"] > 0


def test_a_cell_that_is_not_gated():
    facts = facts_of(*OWN, kind="gru_reset_before")
    for name in ("fused", "fused_outputs"):
        assert facts[name]["status"] == "not applicable"
        assert "gru_reset_before" in facts[name]["reason"]
    assert facts["unroll"]["status"] == facts["textbook"]["status"] == "measured"


def test_progress_names_everyone():
    said = []
    measure_problem(tiny(), [textbook()], rounds=1, on_progress=said.append)
    assert said[1] == "lstm B=2 T=5 D=3 H=4, textbook"


def test_a_problem_is_the_same_every_time_and_no_bias_is_zero():
    one, other = tiny("gru"), tiny("gru")
    np.testing.assert_array_equal(one.xs, other.xs)
    np.testing.assert_array_equal(one.params.w_hh, other.params.w_hh)
    assert np.all(np.asarray(one.params.b) != 0) and np.all(np.asarray(one.params.b_hn) != 0)
    assert (one.precision, one.gates) == ("fp32", 3)


def test_an_accelerators_own_precision_is_left_as_it_is():
    import jax

    problem = tiny()._replace(platform="gpu", precision="tf32")
    with problem.at_precision():
        assert jax.config.jax_default_matmul_precision is None
    with problem.at_precision("fp32"):
        assert jax.config.jax_default_matmul_precision == "highest"
    assert [default_precision(name) for name in ("cpu", "gpu", "tpu")] == ["fp32", "tf32", "bf16"]


def test_a_copy_is_measured_where_caches_do_not_hide_it():
    assert measure_machine(tiny(), size=16).bandwidth is None
    found = measure_machine(tiny()._replace(platform="gpu"), size=16)
    assert found.bandwidth > 0 and found.handover == 0.9e-6


def test_bad_names():
    with pytest.raises(ValueError, match="unknown cell 'lstn'.*'lstm'"):
        make_problem("lstn", tiny().case)
    with pytest.raises(ValueError, match="unknown precision 'tf23'"):
        make_problem("lstm", tiny().case, precision="tf23")
    with pytest.raises(ValueError, match="precision tf32 on a CPU"):
        make_problem("lstm", tiny().case, precision="tf32")
    with pytest.raises(ValueError, match="unknown contender 'fussed'.*'fused'"):
        choose_contenders(["fussed"])


def test_gradients_are_mapped_back_by_the_chain_rule():
    """Weights stored another way round: the same gradients of our parameters."""
    problem = tiny("elman")
    plain = reference_results(problem)

    def pack(params):
        return jnp.concatenate([params.w_ih.T.ravel(), params.w_hh.T.ravel(), params.b / 2])

    def apply(weights, xs):
        params = problem.params
        inputs, hidden = params.w_ih.shape
        cut = inputs * hidden, (inputs + hidden) * hidden
        w, u, b = jnp.split(weights, cut)
        params = params._replace(
            w_ih=w.reshape(hidden, inputs).T, w_hh=u.reshape(hidden, hidden).T, b=2 * b
        )
        from jaxrnn import unroll

        return unroll(problem.cell, params, xs)[1]

    found = compile_model(problem, Model(pack, apply)).results()
    assert max(errors(found, plain).values()) < 1e-5
    zeros = mapped_back(pack, problem.params, np.zeros_like(pack(problem.params)))
    assert not np.any(zeros.w_hh)


def test_a_layer_that_takes_the_batch_first_shows_the_same():
    problem = tiny("elman")

    def apply(params, xs):
        from jaxrnn import unroll

        assert xs.shape[:2] == (problem.case.batch, problem.case.steps)
        return jnp.swapaxes(unroll(problem.cell, params, jnp.swapaxes(xs, 0, 1))[1], 0, 1)

    found = compile_model(problem, Model(lambda params: params, apply, batch_first=True)).results()
    plain = reference_results(problem)
    assert found.outputs.shape == plain.outputs.shape and found.inputs.shape == plain.inputs.shape
    assert max(errors(found, plain).values()) < 1e-5


def test_the_file_reads_back():
    machine = measure_machine(tiny(), size=16)
    row = measure_problem(
        tiny(), [textbook(), changed(moved("outputs", np.nan))], rounds=2, machine=machine
    )
    data = record([{"case": "tiny", **row}], machines={"fp32": machine}, rounds=2)
    back = json.loads(as_json(data))
    place = back["place"]
    assert place["platform"] == "cpu" and place["device"] and place["cores"] >= 1
    assert {"jax", "jaxlib", "numpy", "python", "jaxrnn"} <= set(place["versions"])
    assert "xla_flags" in place and "load_average" in place and "matmul_precision" in place
    assert back["limits"]["fp32"]["gflops"] == pytest.approx(machine.flops / 1e9, rel=1e-3)
    (case,) = back["cases"]
    assert case["contenders"]["changed"]["errors"]["outputs"] == "nan"
    train, wanted = case["contenders"]["textbook"]["train"], row["contenders"]["textbook"]["train"]
    assert train == {name: pytest.approx(value, rel=1e-3) for name, value in wanted.items()}
    assert json.loads(as_json(back)) == back
