"""The bundled weights `small`, second stage, with excerpts of 9.6 s: run card.

Starts from what configs/small.py made (runs/small/last.safetensors), on the same data:
    python scripts/prune_gru.py runs/small/last.safetensors --data Hybrid --out first.safetensors
    python scripts/train_torch.py --config configs/small_long.py --data Hybrid --initial first.safetensors \\
        --logdir runs/small-long --device cpu
    python scripts/average_weights.py first.safetensors runs/small-long/last.safetensors --out average.safetensors
    python scripts/prune_gru.py average.safetensors --data Hybrid --out final.safetensors
Time, steps actually run and score: rmvpe/weights/README.md.
"""

import dataclasses
import runpy
from pathlib import Path

FIRST = runpy.run_path(str(Path(__file__).with_name("small.py")))["CONFIG"]
CONFIG = dataclasses.replace(
    FIRST,
    excerpt_frames=960,
    batch_size=3,  # about as many frames per step as in small.py
    iterations=5200,
    learning_rate=8e-4,
    schedule="cosine",
)
