"""Each framework learns four clips by heart: data, targets, loss, update, statistics and decoding fit together."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytest.importorskip("grain")

from rmvpe.config import AugmentConfig, DecodeConfig, ModelConfig, TrainConfig  # noqa: E402
from rmvpe.data.pipeline import training_batches  # noqa: E402
from rmvpe.data.readers.hybrid import Hybrid  # noqa: E402
from rmvpe.estimator import Estimator  # noqa: E402
from rmvpe.evaluation.evaluate import CLEAN, evaluate  # noqa: E402
from rmvpe.training.loop import Trainer  # noqa: E402
from rmvpe_jax.train import JaxTrainer  # noqa: E402
from rmvpe_torch.train import TorchTrainer  # noqa: E402
from tests.helpers.hybrid import make_hybrid  # noqa: E402

MODEL = ModelConfig(
    name="overfit", levels=3, blocks=1, inter_layers=1, channels=8, gru_hidden=256, dropout=0.0, bn_momentum=0.1
)
PLAIN = AugmentConfig(
    key_shift_probability=0.0,
    accompaniment_probability=0.0,
    voiceless_probability=0.0,
    noise_probability=0.0,
    gain_log10=(0.0, 0.0),
    tilt_probability=0.0,
)
CONFIG = TrainConfig(
    model=MODEL,
    augment=PLAIN,
    excerpt_frames=200,  # a clip has 201: all of it, with the edges that shorter excerpts seldom hold
    batch_size=2,
    iterations=250,
    loss="weighted",
    learning_rate=2e-3,
)
LOOK_EVERY = 25  # updates


def learn(trainer: Trainer, clips: Hybrid, config: TrainConfig, enough: float) -> list[float]:
    """Train until the raw pitch accuracy on the clips themselves is above `enough`; its course, look by look."""
    batches = training_batches(clips, config)

    def accuracy() -> float:
        estimator = Estimator(trainer.network(trainer.checkpoint({})), config.model, DecodeConfig(threshold=0.1))
        return evaluate(estimator, clips, snr_db=(CLEAN,)).pooled["clean"]["RPA"]

    course = [accuracy()]
    while trainer.step < config.iterations and course[-1] <= enough:
        for _ in range(LOOK_EVERY):
            trainer.start_step([next(batches)], config.learning_rate)
        course.append(accuracy())
    return course


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_four_clips_are_learnt_by_heart(framework: str, tmp_path: Path):
    clips = Hybrid(make_hybrid(tmp_path / "Hybrid", train=4), "train")
    start = TorchTrainer(CONFIG)
    if framework == "torch":
        trainer: Trainer = start
    else:
        trainer = JaxTrainer(CONFIG, jax.local_devices(backend="cpu")[:1], start.checkpoint({}))
    course = learn(trainer, clips, CONFIG, enough=0.99)
    assert course[0] < 0.1, course  # nothing is known at first
    assert course[-1] > 0.99, course  # seen within 100 updates
