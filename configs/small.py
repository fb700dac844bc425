"""The bundled weights `small`.

Data: Hybrid made by scripts/prepare_synthetic.py (--train-hours 4 --valid-minutes 25 --test-minutes 25 --seed 0) from
freely licensed dry voices and music; nothing else.
Time: about 75 minutes on 2 cores of an AMD EPYC (Zen 5, AVX512-BF16), 0.4 s per step, machine shared with other work.
Expected score: see rmvpe/weights/README.md.
Command: python scripts/train_torch.py --config configs/small.py --data Hybrid --logdir runs/small --device cpu
"""

from rmvpe.config import ModelConfig, TrainConfig

CONFIG = TrainConfig(
    model=ModelConfig.small(),
    batch_size=16,
    iterations=10000,
    learning_rate=1e-3,
    schedule="cosine",
    warmup_steps=200,
    ema_decay=0.999,
    conv_dtype="bfloat16",
    validation_interval=500,
    validation_files=20,
)
