"""Writes tiny_torch.pt, which tests read where torch is not installed. It was run with torch 2.13.0."""

from collections import OrderedDict
from pathlib import Path

import torch

if __name__ == "__main__":
    model = OrderedDict(
        half=torch.arange(6, dtype=torch.float16).reshape(2, 3),
        transposed=torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
        slice=torch.arange(20, dtype=torch.float32)[10:14],
        brain=torch.tensor([1.0, -2.5, 2.0**100], dtype=torch.bfloat16),
        parameter=torch.nn.Parameter(torch.ones(2, dtype=torch.float64)),
        count=torch.tensor(7),
        empty=torch.zeros(0, 4),
    )
    torch.save({"model": model, "epoch": 3}, Path(__file__).with_name("tiny_torch.pt"))
