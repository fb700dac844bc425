"""Fine-tuning the bundled weights `small` on your own voices: run card. The guide is docs/fine-tuning.md.

Data: Hybrid made from your recordings and, better, music, by
    python scripts/prepare_synthetic.py --voices my-voice --music my-music --out Hybrid --train-hours 0.5 \\
        --valid-minutes 3 --test-minutes 3
Command: python scripts/train_torch.py --config configs/finetune.py --data Hybrid --initial small \\
        --logdir runs/finetune --device cpu

The learning rate is a tenth of that of the training from scratch, because larger steps lose what the weights know
before they learn the new voice. It rises over the first updates, in which Adam does not know the sizes of the gradients
yet, and falls to 0. The averaged weights remember about 100 updates.
"""

from rmvpe.config import ModelConfig, TrainConfig

CONFIG = TrainConfig(
    model=ModelConfig.small(),
    excerpt_frames=256,
    batch_size=6,
    iterations=200,
    learning_rate=1.5e-4,
    schedule="cosine",
    warmup_steps=30,
    ema_decay=0.99,
    validation_interval=100,
    validation_files=20,
)
