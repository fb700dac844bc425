"""One of several processes that train together, for test_distributed: HOST:PORT N I FAULT OUT.

Trains on its share of tests.helpers.tiny_jax's batches, process 0 saves a state, all load it and go on; OUT gets the
losses as JSON. FAULT "save" lets process 0 fail where it saves.
"""

import dataclasses
import json
import sys
from pathlib import Path

from rmvpe.errors import UserError, run_cli
from rmvpe_jax import distributed

STEPS, STATE_AFTER, EXAMPLES = 6, 3, 4
JOIN_TIMEOUT_S = 60


def main(coordinator: str, processes: str, process: str, fault: str, out: str) -> int:
    def run() -> None:
        distributed.start(coordinator, int(processes), int(process), JOIN_TIMEOUT_S)
        Path(out).write_text(json.dumps(train(fault, Path(out).parent)))

    return run_cli("one_of_several", run)


def train(fault: str, folder: Path) -> list[float]:
    import jax

    from rmvpe.data.pipeline import Batch
    from rmvpe_jax import state as states
    from rmvpe_jax.train import JaxTrainer
    from tests.helpers.batches import mapped
    from tests.helpers.tiny_jax import CONFIG, RATE, batch

    share = EXAMPLES // jax.process_count()
    config = dataclasses.replace(CONFIG, batch_size=share // jax.local_device_count())
    trainer = JaxTrainer(config, jax.local_devices())

    def own(number: int) -> Batch:
        return mapped(batch(number, EXAMPLES), lambda array: array[jax.process_index() * share :][:share])

    losses = []
    try:
        for step in range(STEPS):
            losses.append(trainer.train_step([own(step)], RATE)["loss"])
            if trainer.step == STATE_AFTER:
                if trainer.ranks.is_main_process:
                    if fault == "save":
                        raise UserError("no room for the state")
                    states.save(folder, trainer.capture())
                trainer.barrier()
                trainer = JaxTrainer(config, jax.local_devices())
                trainer.restore(states.load(states.find(folder)[STATE_AFTER]))
    finally:
        distributed.stop()
    return losses


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
