"""The torch side of a training run: network, Adam, averaged weights, one state file. `rmvpe.training.fit` runs it."""

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rmvpe.checkpoint import Checkpoint
from rmvpe.config import ModelConfig, TrainConfig, from_dict, to_dict
from rmvpe.data.pipeline import Batch
from rmvpe.errors import UserError
from rmvpe.files import atomic_path
from rmvpe_torch.checkpoint import load_model
from rmvpe_torch.losses import bce
from rmvpe_torch.model import RMVPE

STATE_NAME = "state-{step:08d}.pt"
STATE_PATTERN = re.compile(r"state-(\d{8})\.pt")


class TorchTrainer:
    """One network in training. `device` is a torch device; batches come as numpy and are moved here."""

    batch_windows = 1

    def __init__(self, config: TrainConfig, device: torch.device | str = "cpu", initial: Checkpoint | None = None):
        torch.manual_seed(config.seed)
        self.config = config
        self.device = torch.device(device)
        self.step = 0
        conv_dtype = getattr(torch, config.conv_dtype)
        self.model = RMVPE(config.model, conv_dtype) if initial is None else load_model(initial, conv_dtype)
        # Channels last is the faster convolution layout on CPUs and tensor cores; the numbers are the same
        self.model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {name: value.detach().clone() for name, value in self._floats().items()}
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)

    def train_step(self, batch: Batch, learning_rate: float) -> dict[str, float]:
        """One update; returns loss and gradient norm before clipping."""
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        log_mel, target = (torch.from_numpy(batch[name]).to(self.device) for name in ("log_mel", "target"))
        self.optimizer.zero_grad(set_to_none=True)
        loss = bce(self.model.logits(log_mel), target)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_grad_norm)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return {"loss": float(loss.detach()), "grad_norm": float(norm.detach())}

    def _floats(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.model.state_dict().items() if value.is_floating_point()}

    @torch.no_grad()
    def _update_average(self) -> None:
        if not self.config.ema_decay:
            return
        # Young averages forget faster, so that the random start does not linger: the usual (1 + n) / (10 + n) ramp
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        names = self._floats()
        torch._foreach_lerp_(list(self.average.values()), [names[name] for name in self.average], 1.0 - decay)

    def _published(self) -> dict[str, Tensor]:
        return self.average if self.config.ema_decay else self._floats()

    @torch.no_grad()
    def salience(self, log_mel: np.ndarray) -> np.ndarray:
        """Evaluation forward with the weights a checkpoint would hold."""
        self.model.eval()
        output = torch.func.functional_call(self.model, self._published(), torch.from_numpy(log_mel).to(self.device))
        return output.cpu().numpy()

    def checkpoint(self, metadata: dict[str, str]) -> Checkpoint:
        """The weights to publish, under the official names."""
        tensors = {name: value.detach().cpu().contiguous().numpy().copy() for name, value in self._published().items()}
        return Checkpoint(self.config.model, tensors, metadata)

    def save(self, folder: Path) -> None:
        """Write this step's whole state to `folder`; older states there are removed after it is complete."""
        state = {
            "step": self.step,
            "model_config": to_dict(self.config.model),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
        }
        path = folder / STATE_NAME.format(step=self.step)
        with atomic_path(path) as temporary:
            torch.save(state, temporary)
        for other in state_files(folder):
            if other != path:
                other.unlink()

    def restore(self, folder: Path) -> None:
        """Continue from the newest state in `folder`. Raises UserError if there is none or it is another network's."""
        paths = state_files(folder)
        if not paths:
            raise UserError(f"{folder} holds no training state to resume: give the --logdir of an earlier run")
        state = torch.load(paths[-1], map_location=self.device, weights_only=True)
        stored = from_dict(ModelConfig, state["model_config"])
        if stored != self.config.model:
            raise UserError(
                f"{paths[-1]} is a state of network {stored.name!r}, not of this run's {self.config.model.name!r}"
            )
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"].cpu())


def state_files(folder: Path) -> list[Path]:
    """Complete training states in `folder`, oldest first."""
    return sorted(path for path in folder.glob("state-*.pt") if STATE_PATTERN.fullmatch(path.name))
