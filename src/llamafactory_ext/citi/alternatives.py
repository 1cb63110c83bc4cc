"""Published scores of a linear that do not vanish where a norm follows it; each adds up over examples.

- `snip`: sum_ij |w_ij dL/dw_ij| (SNIP, arXiv:1810.02340, section 4.1; AdaLoRA's sensitivity, arXiv:2303.10512,
  section 3.2). The papers take L of a mini-batch; here it is the loss of an example, so batching does not matter.
- `fisher`: sum_ij (dL/dw_ij)^2, L the loss of an example: the trace of the empirical Fisher information (FISH Mask,
  arXiv:2111.09839, section 2). With X, G the inputs and output gradients of an example's tokens it equals
  <X X^T, G G^T> (arXiv:1510.01799, for sequences arXiv:2110.05679), which is the shorter way for short examples.
- `wanda`: sum_ij |w_ij| ||x_j||, the norm taken over all tokens of the data that are no padding (Wanda,
  arXiv:2306.11695, section 3). No gradient at all.

No gradient of a whole weight is ever held: where one is needed, it is formed and summed a block of rows at a time.

Shapes: B batch, T tokens, I input width, O output width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import OptionError
from ..training.devices import widest
from .taps import Tap

BLOCK_CPU, BLOCK_GPU = 1 << 18, 1 << 25  # numbers of a weight's gradient at once; on a CPU they stay in its cache


class _Summed:
    """Accumulated numbers per component, and the batch that is seen now."""

    backward = True

    def __init__(self) -> None:
        self.total: dict[str, Tensor] = {}
        self.inputs: Mapping[str, Tensor] = {}
        self._of_input: tuple[Tensor, Tensor] | None = None

    def begin_batch(self, inputs: Mapping[str, Tensor]) -> None:
        self.inputs = inputs

    def end_batch(self) -> None:
        self.inputs, self._of_input = {}, None

    def tap(self, name: str, module: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
        kept: Tensor = Tap.apply(y, x.detach(), partial(self._see, name, module))
        return kept

    def _see(self, name: str, module: nn.Linear, grad: Tensor, x: Tensor) -> None:
        high = torch.promote_types(x.dtype, torch.float32)
        self._add(name, self.of(module, self.by_example(name, grad).to(high), self.by_example(name, x), high))

    def of(self, module: nn.Linear, grad_BTO: Tensor, x_BTI: Tensor, high: torch.dtype) -> Tensor:
        """Return the contribution of a batch."""
        raise NotImplementedError

    def _add(self, name: str, value: Tensor) -> None:
        value = value.to(widest(value.device))
        self.total[name] = self.total[name] + value if name in self.total else value

    def by_example(self, name: str, rows: Tensor) -> Tensor:
        """Return what a component sees as (B, T, width).

        Raises:
            OptionError: a router has mixed the tokens of several examples.
        """
        B, T = self.inputs["input_ids"].shape
        if rows.dim() > 2 and rows.shape[0] == B:
            return rows.reshape(B, -1, rows.shape[-1])
        if B == 1 or rows.numel() == B * T * rows.shape[-1]:
            return rows.reshape(B, -1, rows.shape[-1])
        raise OptionError(
            f"{name} sees tokens without their example, which no citi_importance_score but eq4 can do without; set "
            "per_device_train_batch_size: 1, or citi_importance_score: eq4."
        )

    def shared(self, x: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """Return what is made of an input; linears that see the same one, one after the other, share it."""
        held = self._of_input
        if held is None or held[0].data_ptr() != x.data_ptr() or held[0].shape != x.shape:
            held = self._of_input = (x, make())
        return held[1]


def _blocks(grad_TO: Tensor, width: int) -> tuple[Tensor, ...]:
    """Cut the outputs so that a block of the weight's gradient has about as many numbers as stay at hand."""
    most = BLOCK_CPU if grad_TO.device.type == "cpu" else BLOCK_GPU
    return grad_TO.split(max(1, most // width), dim=1)


class SnipSums(_Summed):
    """sum over examples of sum_ij |w_ij dL/dw_ij|."""

    def of(self, module: nn.Linear, grad_BTO: Tensor, x_BTI: Tensor, high: torch.dtype) -> Tensor:
        total = grad_BTO.new_zeros(())
        for grad_TO, x_TI in zip(grad_BTO, x_BTI.to(high), strict=True):
            first = 0
            for part_TS in _blocks(grad_TO, x_TI.shape[1]):
                moves_SI = part_TS.T @ x_TI
                moves_SI *= module.weight[first : first + part_TS.shape[1]]
                total += torch.linalg.vector_norm(moves_SI, 1)
                first += part_TS.shape[1]
        return total


class FisherSums(_Summed):
    """sum over examples of sum_ij (dL/dw_ij)^2."""

    def of(self, module: nn.Linear, grad_BTO: Tensor, x_BTI: Tensor, high: torch.dtype) -> Tensor:
        T, O, I = *grad_BTO.shape[1:], x_BTI.shape[2]  # noqa: E741
        if T * (I + O) < I * O:
            x_BTT = self.shared(x_BTI, lambda: _gram(x_BTI.to(high)))
            return torch.dot(x_BTT.flatten(), _gram(grad_BTO).flatten())
        total = grad_BTO.new_zeros(())
        for grad_TO, x_TI in zip(grad_BTO, x_BTI.to(high), strict=True):
            for part_TS in _blocks(grad_TO, I):
                moves_SI = part_TS.T @ x_TI
                total += torch.dot(moves_SI.flatten(), moves_SI.flatten())
        return total


def _gram(rows_BTX: Tensor) -> Tensor:
    """Return the inner products of all pairs of tokens of an example."""
    return rows_BTX @ rows_BTX.mT


class WandaSums(_Summed):
    """sum_ij |w_ij| ||x_j||; what is added up is the square of sum_i |w_ij| ||x_j|| for each j."""

    backward = False

    def __init__(self) -> None:
        super().__init__()
        self._columns: dict[str, Tensor] = {}

    def tap(self, name: str, module: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
        if name not in self._columns:
            high = torch.promote_types(module.weight.dtype, torch.float32)
            columns_I = torch.linalg.vector_norm(module.weight, 1, dim=0, dtype=high)
            self._columns[name] = columns_I.to(widest(x.device)).square()
        squares_I = self.shared(x, lambda: self._squares(name, x))
        self._add(name, squares_I * self._columns[name])
        return y

    def _squares(self, name: str, x: Tensor) -> Tensor:
        x_BTI = self.by_example(name, x).to(torch.promote_types(x.dtype, torch.float32))
        mask_BT = self.inputs.get("attention_mask")
        counts = torch.ones_like(x_BTI[..., 0]) if mask_BT is None else mask_BT.to(x_BTI)
        return (counts.flatten() @ x_BTI.flatten(0, 1).square()).to(widest(x.device))
