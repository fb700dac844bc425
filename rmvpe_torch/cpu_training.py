"""The network arranged for training on a CPU: the same function, parameters and names, less time.

- **ReLU** writes over its input: large images that are made and dropped at each step cost more than the arithmetic.
- **The bottom of the U-Net** keeps its weights in PyTorch's default layout. They are larger than its images, and of the
  other layout torch would turn each gradient over, and copy each weight for Adam, number by number.
- **The GRU** runs both directions in one loop over frames. Torch's own starts some ten small operations per frame and
  direction in each pass, and adds a whole weight gradient at each frame; here that is one product after the loop.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rmvpe_torch import device as devices
from rmvpe_torch.model import RMVPE, BiGRU, Intermediate

KINDS_OF_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # of each layer and direction of an nn.GRU


def arrange(model: RMVPE, device: torch.device) -> RMVPE:
    """The model, changed for training on `device`; only on a CPU is there anything to change."""
    if not devices.kind_of(device).arranged_training:
        return model
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True  # a batch norm's gradient needs its input, not its output
    model.unet.intermediate = DefaultLayout(model.unet.intermediate)
    model.fc[0] = OneLoopGRU(cast(BiGRU, model.fc[0]))
    return model


class DefaultLayout(Intermediate):
    """`bottom` in PyTorch's default memory layout, between images whose channels lie together."""

    def __init__(self, bottom: Intermediate):
        nn.Module.__init__(self)
        self.layers = bottom.layers.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, F] -> [B, 2C, T, F]."""
        return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)


class OneLoopGRU(BiGRU):
    """`block` with both directions, and later the gradients, in one loop over frames."""

    def __init__(self, block: BiGRU):
        nn.Module.__init__(self)
        self.gru = block.gru

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, features] -> [B, T, 2 * hidden]."""
        x = x.transpose(0, 1)  # [B, T, F] -> [T, B, F]
        for layer in range(self.gru.num_layers):
            both = [
                torch.stack([getattr(self.gru, f"{kind}_l{layer}{direction}") for direction in ("", "_reverse")])
                for kind in KINDS_OF_PARAMETERS
            ]
            x = _BothDirections.apply(x, *both)
        return x.transpose(0, 1)  # [T, B, 2H] -> [B, T, 2H]


class _BothDirections(torch.autograd.Function):
    """One layer of a bidirectional GRU (the equations of `torch.nn.GRU`) from a state of zeros.

    Everything that a loop needs lies time first, [T, 2, B, ...], and the second direction backwards in time. The
    gradient of a state by the gates is a product of numbers known before the loop over the gradients, so that one step
    of it is a product of numbers, the part that passes the update gate, and one matrix product.
    """

    @staticmethod
    def forward(context: Any, x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        """x [T, B, F], weights [2, 3H, F] and [2, 3H, H], biases [2, 3H] -> [T, B, 2H]."""
        frames, batch, hidden = x.shape[0], x.shape[1], w_hh.shape[-1]
        inputs = torch.stack((x, x.flip(0))).flatten(1, 2)  # [T, B, F] -> [2, T * B, F]
        bias = b_ih.clone()
        bias[:, : 2 * hidden] += b_hh[:, : 2 * hidden]
        projected = torch.baddbmm(bias[:, None], inputs, w_ih.transpose(1, 2)).unflatten(1, (frames, batch))
        gates = projected.transpose(0, 1).contiguous()  # [2, T, B, 3H] -> [T, 2, B, 3H]: reset, update, new
        new_inputs = gates[..., 2 * hidden :].clone()
        gates[..., 2 * hidden :] = b_hh[:, None, 2 * hidden :]  # the reset gate acts on the state's share alone
        states = x.new_zeros(frames + 1, 2, batch, hidden)
        news = x.new_empty(frames, 2, batch, hidden)
        weight = w_hh.transpose(1, 2).contiguous()
        resets, updates, from_state = (part.unbind(0) for part in gates.split(hidden, -1))
        both, sums, state = gates[..., : 2 * hidden].unbind(0), gates.unbind(0), states.unbind(0)
        for t, (new_input, new) in enumerate(zip(new_inputs.unbind(0), news.unbind(0))):
            sums[t].baddbmm_(state[t], weight)
            both[t].sigmoid_()
            torch.addcmul(new_input, resets[t], from_state[t], out=new).tanh_()
            torch.lerp(new, state[t], updates[t], out=state[t + 1])
        context.save_for_backward(inputs, w_ih, w_hh, gates, news, states)
        return torch.cat((states[1:, 0], states[1:, 1].flip(0)), -1)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        """Of the outputs [T, B, 2H] -> of x, both weights and both biases."""
        inputs, w_ih, w_hh, gates, news, states = context.saved_tensors
        frames, _, batch, hidden = news.shape
        reset, update, from_state = gates.split(hidden, -1)
        by_new = (1 - news.square()) * (1 - update)
        slopes = news.new_empty(frames, 2, batch, 3, hidden)  # of a state by the three sums that make its gates
        torch.mul(by_new * from_state, reset - reset.square(), out=slopes[..., 0, :])
        torch.mul(states[:-1] - news, update - update.square(), out=slopes[..., 1, :])
        torch.mul(by_new, reset, out=slopes[..., 2, :])
        by_state = torch.stack((gradient[..., :hidden], gradient[..., hidden:].flip(0)), 1)  # [T, 2, B, H]
        by_sums = slopes  # written over: a slope is needed once
        rows = by_sums.flatten(-2).unbind(0)  # [2, B, 3H] each
        state, wide, passed = by_state.unbind(0), by_state.unsqueeze(-2).unbind(0), update.unbind(0)
        for t, slope in reversed(list(enumerate(slopes.unbind(0)))):
            slope.mul_(wide[t])
            if t:
                state[t - 1].addcmul_(state[t], passed[t]).baddbmm_(rows[t], w_hh)
        flat = by_sums.flatten(-2).transpose(0, 1).flatten(1, 2)  # [T, 2, B, 3, H] -> [2, T * B, 3H], a copy
        grad_w_hh = torch.bmm(flat.transpose(1, 2), states[:-1].transpose(0, 1).flatten(1, 2))
        grad_b_hh = flat.sum(1)
        # The input's share of the new gate does not pass the reset gate
        flat[..., 2 * hidden :] = (by_state * by_new).transpose(0, 1).flatten(1, 2)
        grad_w_ih = torch.bmm(flat.transpose(1, 2), inputs)
        grad_inputs = torch.bmm(flat, w_ih).unflatten(1, (frames, batch))  # [2, T, B, F]
        return grad_inputs[0] + grad_inputs[1].flip(0), grad_w_ih, grad_w_hh, flat.sum(1), grad_b_hh
