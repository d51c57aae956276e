"""Your flax model: gradient decay and Lyapunov spectrum of an LSTM written in flax, in five lines.

Nothing is rewritten: `interop.from_flax` reads the flax cell with its variables, and the tools work
on both as they are. (`from_nnx`, `from_haiku`, `from_equinox` and `from_torch` read others.) Expect
both numbers of an untrained LSTM to be below 0: its gradients fade.
"""

import jax

from jaxrnn import analysis, interop


def main(steps=100, hidden_size=16):
    try:
        from flax import linen as nn
    except ImportError:
        raise SystemExit("this example needs flax; install it with: pip install flax") from None

    xs = jax.random.normal(jax.random.key(0), (steps, 3))
    lstm = nn.OptimizedLSTMCell(hidden_size)
    carry = lstm.initialize_carry(jax.random.key(1), (3,))
    variables = lstm.init(jax.random.key(2), carry, xs[0])

    cell, params = interop.from_flax(lstm, variables)
    decay = analysis.gradient_decay(cell, params, xs)
    spectrum = analysis.lyapunov_spectrum(cell, params, xs, k=3)
    print(f"gradients change by {decay.rate:.3f} nats per step")
    exponents = ", ".join(f"{exponent:.3f}" for exponent in spectrum.exponents)
    print(f"largest Lyapunov exponents: {exponents} nats per step")
    return cell, params, decay, spectrum


if __name__ == "__main__":
    main()
