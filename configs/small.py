"""The bundled weights `small`: run card.

Data: Hybrid made by
    python scripts/prepare_instruments.py --soundfont FluidR3_GM.sf2 MuseScore_General.sf3 --out MUSIC --hours 1.38
    python scripts/prepare_instruments.py --soundfont TimGM6mb.sf2 --out MUSIC --hours 1.18
    python scripts/prepare_synthetic.py --voices VOICES --music MUSIC --out Hybrid --train-hours 5 --valid-minutes 15 \\
        --test-minutes 15 --seed 2
from freely licensed dry voices, music and SoundFonts (docs/training-data.md); nothing else.
Command: python scripts/train_torch.py --config configs/small.py --data Hybrid --logdir runs/small --device cpu
Time, steps actually run and score: rmvpe/weights/README.md.
"""

import dataclasses

from rmvpe.config import AugmentConfig, ModelConfig, TrainConfig

CONFIG = TrainConfig(
    model=ModelConfig.small(),
    augment=dataclasses.replace(
        AugmentConfig(),
        voiceless_probability=0.15,  # twice the default: small networks find voices in music too often
        backing_probability=0.07,
        accompaniment_probability=0.8,
        foreign_probability=0.6,
        snr_db=(-10.0, 28.0),
    ),
    excerpt_frames=256,  # twice the reference: at 128 frames the bottom of the U-Net has four, all near a border
    batch_size=12,
    iterations=14000,
    learning_rate=1.5e-3,
    schedule="hold",
    warmup_steps=200,
    ema_decay=0.999,
    conv_dtype="bfloat16",
    validation_interval=1000,
    validation_files=20,
)
