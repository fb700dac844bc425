"""Pitch as a loss in JAX: the f0 of several tones at once is pulled to other notes, with jit, vmap and grad.

    python examples/pitch_loss_jax.py
    python examples/pitch_loss_jax.py --steps 40

The tones stand for a vocoder or synthesiser of yours: any function that gives sound. Needs `pip install '.[jax]'`.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import rmvpe_jax
from rmvpe.config import MelConfig
from rmvpe.pitch import N_BINS, hz_to_bins
from rmvpe_jax.mel import log_mel

MEL = MelConfig()
FRAMES, HARMONICS = 64, 8
TARGET_WIDTH_BINS = 1.25  # of 20 cents each: the width of the labels that the network was trained on
START_HZ, TARGET_HZ = np.array([220.0, 330.0]), np.array([233.08, 311.13])
RATE = 0.01  # octaves per step, at first


def tone(f0_hz: Array) -> Array:
    """Harmonics of f0 [] with falling levels, audio [samples] at 16 kHz."""
    time_s = jnp.arange(MEL.window_samples + (FRAMES - 1) * MEL.hop_samples) / MEL.sample_rate
    number = jnp.arange(1, HARMONICS + 1)[:, None]
    return (jnp.sin(2 * jnp.pi * f0_hz * number * time_s) / number).sum(0) / 10


def loss_of(params: rmvpe_jax.Params, octaves: Array, target_bin: Array) -> Array:
    """Cross-entropy of one tone's salience [T, 360] and a Gaussian around the target's bin."""
    salience = rmvpe_jax.salience(params, log_mel(tone(2**octaves)[None], MEL)[0])
    salience = jnp.clip(salience, 1e-6, 1 - 1e-6)
    target = jnp.exp(-0.5 * ((jnp.arange(N_BINS) - target_bin) / TARGET_WIDTH_BINS) ** 2)
    return -(target * jnp.log(salience) + (1 - target) * jnp.log(1 - salience)).mean()


def main(argv: list[str] | None = None) -> None:
    """Optimise the tones' f0 and print the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args(argv)

    params = rmvpe_jax.load_params("small")
    # Over the tones, but not over the parameters; the gradient with respect to the f0
    step_of = jax.jit(jax.vmap(jax.value_and_grad(loss_of, argnums=1), in_axes=(None, 0, 0)))
    octaves, target_bins = jnp.log2(START_HZ), jnp.asarray(hz_to_bins(TARGET_HZ))
    for step in range(arguments.steps + 1):
        loss, gradient = step_of(params, octaves, target_bins)
        if step % 5 == 0:
            print(f"step {step}: loss {np.mean(loss):.4f}, f0 {np.round(2**octaves, 2)} Hz")
        octaves = octaves - RATE * (1 - step / (arguments.steps + 1)) * jnp.sign(gradient)


if __name__ == "__main__":
    main()
