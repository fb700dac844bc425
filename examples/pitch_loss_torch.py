"""Pitch as a loss in PyTorch: the f0 of a tone is pulled to another note through the network.

    python examples/pitch_loss_torch.py
    python examples/pitch_loss_torch.py --start-hz 330 --target-hz 349.23 --steps 40

The tone stands for a vocoder or synthesiser of yours: anything that gives sound with a gradient. Needs
`pip install '.[torch]'`.
"""

import argparse
import math

import numpy as np
import torch
from torch import Tensor

import rmvpe_torch
from rmvpe.config import MelConfig
from rmvpe.pitch import N_BINS, hz_to_bins
from rmvpe_torch.mel import log_mel

MEL = MelConfig()
FRAMES, HARMONICS = 64, 8
TARGET_WIDTH_BINS = 1.25  # of 20 cents each: the width of the labels that the network was trained on


def tone(f0_hz: Tensor) -> Tensor:
    """Harmonics of f0 [] with falling levels, audio [1, samples] at 16 kHz."""
    time_s = torch.arange(MEL.window_samples + (FRAMES - 1) * MEL.hop_samples) / MEL.sample_rate
    number = torch.arange(1, HARMONICS + 1)[:, None]
    return (torch.sin(2 * math.pi * f0_hz * number * time_s) / number).sum(0, keepdim=True) / 10


def target_salience(f0_hz: float) -> Tensor:
    """A Gaussian around the bin of f0 [N_BINS]."""
    distance = torch.arange(N_BINS) - float(hz_to_bins(np.array(f0_hz)))
    return torch.exp(-0.5 * (distance / TARGET_WIDTH_BINS) ** 2)


def main(argv: list[str] | None = None) -> None:
    """Optimise the tone's f0 and print the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start-hz", type=float, default=220.0)
    parser.add_argument("--target-hz", type=float, default=233.08)
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args(argv)

    model = rmvpe_torch.load_model("small").requires_grad_(False)  # gradients pass through it; it does not learn
    target = target_salience(arguments.target_hz).expand(1, FRAMES, N_BINS)
    octaves = torch.tensor(math.log2(arguments.start_hz), requires_grad=True)
    optimizer = torch.optim.Adam([octaves], lr=0.01, betas=(0.5, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.steps)
    for step in range(arguments.steps + 1):
        salience = model(log_mel(tone(2**octaves), MEL))  # [1, T, 128] -> [1, T, 360]
        loss = torch.nn.functional.binary_cross_entropy(salience, target)
        if step % 5 == 0:
            print(f"step {step}: loss {loss.item():.4f}, f0 {2 ** octaves.item():.2f} Hz")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


if __name__ == "__main__":
    main()
