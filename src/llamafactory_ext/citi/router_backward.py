"""The router loss of CITI inside the adapters' own backward, its gradient in closed form.

What it does: beta * L_r (see `router_loss`) over all routers, exact over micro-batches and processes. What it does
not do: the language-model loss, which `RouterLoss.attach` only takes along. Eq. 9 of the paper (arXiv:2409.13202) is
stated for one router; several add up, so that each feels beta whatever their number.

Shapes: T tokens, E = N + 1 gates, S samples, L routers. Gates are (E, T), as the adapters hold them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..training.devices import widest
from .router_loss import Scope, importance_matrix, samples_of


@dataclass(frozen=True)
class Totals:
    """What the closed form needs from everything the loss runs over; sums add up over micro-batches and processes.

    Attributes:
        sums_L2: per router, sum Z and sum Z^2 (scope token: sum over tokens of var/mean, and 0); float64.
        rows: what Z has per gate: tokens, or samples in scope `sample`.
    """

    sums_L2: Tensor
    rows: Tensor

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.sums_L2 + other.sums_L2, self.rows + other.rows)


class _Batch:
    """What all routers share in the current micro-batch: its rows' I, its pooling matrix, its classes.

    Tokens that do not count are zeros in each: no router has to pick the others out.
    """

    def __init__(self, is_tool: Tensor, mask: Tensor, sample: Tensor, scope: Scope, delta: float) -> None:
        self.scope, self.delta = scope, delta
        self.tokens = mask.numel()
        self.is_tool_T, self.mask_T, self.sample_T = is_tool.flatten(), mask.flatten(), sample.flatten()
        self.weights: Tensor | None = None
        self.rows = torch.empty(0)

    def prepare(self, gates_ET: Tensor) -> None:
        """Make the matrices in the gates' number type, with the first router of a pass."""
        if self.weights is not None and self.weights.dtype == gates_ET.dtype:
            return
        kept, tool, dtype = self.mask_T, self.is_tool_T, gates_ET.dtype
        self.classes_2T = torch.stack([kept & ~tool, kept & tool]).to(dtype)
        self.weights = importance_matrix(tool, len(gates_ET), self.delta, dtype).t().contiguous() * kept
        self.rows = kept.sum()
        if self.scope == "sample":
            _, first_S, index_T = samples_of(self.sample_T[kept])
            members_ST = torch.zeros(len(first_S), self.tokens, dtype=dtype, device=kept.device)
            members_ST[index_T, kept.nonzero().squeeze(1)] = 1
            self.pool_ST = members_ST / members_ST.sum(1, keepdim=True)
            self.weights = importance_matrix(tool[kept][first_S], len(gates_ET), self.delta, dtype).t()
            self.rows = kept.new_tensor(len(first_S), dtype=torch.long)

    def z(self, gates_ET: Tensor) -> Tensor:
        """Return Z, a column per token or per sample."""
        assert self.weights is not None, "prepare() comes first"
        return self.weights * (gates_ET @ self.pool_ST.t() if self.scope == "sample" else gates_ET)

    def mean_and_variance(self, Z: Tensor) -> tuple[Tensor, Tensor]:
        """Return those of each token's gates, (T,); a token that does not count has mean 1 and variance 0."""
        return Z.mean(dim=0) + ~self.mask_T, Z.var(dim=0)


class _AllSeen(Exception):  # noqa: N818 - not an error
    """Ends a forward pass that no router needs any further."""


class RouterLoss:
    """beta * L_r over all routers of a model, as a `GateLoss` for `MoLoraModel.set_gate_loss`.

    A training micro-batch: `begin(...)`, the forward pass, `attach(lm_loss, ...)`, backward of what that returns.
    While all experts are zero and only routers train, no backward is needed: `begin(...)` and the forward pass within
    `forward_only(learn=True)` for every micro-batch, then `own_gradients(...)`.
    """

    def __init__(self, layers: Sequence[str], *, delta: float, beta: float, scope: Scope) -> None:
        self.layers = {name: i for i, name in enumerate(layers)}
        self.delta, self.beta, self.scope = delta, beta, scope
        self._batch: _Batch | None = None
        self._recording = False
        self._sums: dict[int, Tensor] = {}
        self._class_gates: dict[int, Tensor] = {}
        self._coefficients_L2: Tensor | None = None
        self._upstream: Tensor | None = None
        self._moves: dict[int, Tensor] = {}
        self.alone = self._stops = False

    def begin(self, is_tool: Tensor, mask: Tensor, sample: Tensor) -> None:
        """State what the tokens of the coming forward pass are; three tensors of the batch's shape (B, T)."""
        self._batch = _Batch(is_tool, mask, sample, self.scope, self.delta)
        self._recording, self._coefficients_L2, self._upstream = True, None, None
        self._sums, self._class_gates = {}, {}

    def end(self) -> None:
        """Forget the batch: passes that follow are neither seen nor trained."""
        self._batch, self._recording, self._coefficients_L2 = None, False, None

    @contextmanager
    def forward_only(self, *, learn: bool = False, stop: bool = True) -> Iterator[None]:
        """End a forward pass within at the last router, as it serves the routers alone; it has no result.

        Args:
            learn: routers form their gradients (see `learn`); all B must be 0.
            stop: False where the pass must be complete, as for engines that gather weights in it.
        """
        self.alone, self._stops = learn, stop
        try:
            with torch.no_grad():
                yield
        except _AllSeen:
            return
        finally:
            self.alone = self._stops = False

    def _stop_after_the_last(self) -> None:
        if self._stops and len(self._sums) == len(self.layers):
            raise _AllSeen

    def observe(self, layer: str, gates_ET: Tensor) -> None:
        """Add the sums of this router, as a part of `GateLoss`."""
        if not self._recording or self._batch is None or gates_ET.shape[1] != self._batch.tokens:
            return
        batch, gates_ET = self._batch, gates_ET.detach()
        batch.prepare(gates_ET)
        Z, wide = batch.z(gates_ET), widest(gates_ET.device)
        if self.scope == "token":
            mean, var = batch.mean_and_variance(Z)
            sums = (var / mean).sum(dtype=wide)
            sums = torch.stack([sums, torch.zeros_like(sums)])
        else:
            sums = torch.stack([Z.sum(dtype=wide), Z.square().sum(dtype=wide)])
        self._sums[self.layers[layer]] = sums
        self._class_gates[self.layers[layer]] = batch.classes_2T @ gates_ET.t()
        if not self.alone:
            self._stop_after_the_last()

    def totals(self) -> Totals:
        """Return the sums of the pass since `begin`."""
        assert self._batch is not None, "begin() comes first"
        missing = [name for name, i in self.layers.items() if i not in self._sums]
        assert not missing, f"routers without a forward pass: {missing}"
        sums_L2 = torch.stack([self._sums[i] for i in range(len(self.layers))])
        return Totals(sums_L2, self._batch.rows.to(sums_L2.dtype))

    def class_gates(self) -> tuple[Tensor, Tensor]:
        """Return gates summed over tokens, (L, 2, E) for general and tool, and the two token counts (2,)."""
        assert self._batch is not None
        counts_2 = self._batch.classes_2T.sum(1).long()
        return torch.stack([self._class_gates[i] for i in range(len(self.layers))]), counts_2

    def value(self, totals: Totals, gates: int) -> Tensor:
        """Return L_r of each router: (L,), float64."""
        if self.scope == "token":
            return totals.sums_L2[:, 0] / totals.rows.clamp(min=1)
        _, mean_L, var_L = self._moments(totals, gates)
        return torch.where(mean_L > 0, var_L / mean_L, torch.zeros_like(var_L))

    def attach(
        self,
        lm_loss: Tensor,
        totals: Totals,
        *,
        gates: int,
        share: float = 1.0,
        weight: float = 1.0,
        replicas: int = 1,
    ) -> Tensor:
        """Return lm_loss + share * beta * L_r; its backward trains the routers through the adapters' own backward.

        Args:
            lm_loss: scalar, already scaled as the optimiser step needs it.
            totals: over everything that L_r runs over: this pass, or all micro-batches and processes of the step.
            gates: E.
            share: this micro-batch's part of the value, 1 / number of micro-batches.
            weight: factor on the gradient. `totals` of the whole step give each micro-batch its own part of the
                gradient (1.0); totals of this micro-batch alone are averaged over micro-batches (`share`).
            replicas: processes over which gradients will be averaged. `totals` that span them all give each process
                its own part of the gradient, which the average would shrink.
        """
        self._recording = False
        value = self.value(totals, gates).sum()
        scale = self.beta * weight * replicas
        self._coefficients_L2 = self._coefficients(totals, gates) * scale
        return _Attach.apply(lm_loss, (value * self.beta * share).to(lm_loss.dtype), self)

    def gradient(self, layer: str, gates_ET: Tensor) -> Tensor | None:
        """Return d(attached loss)/d(gates), (E, T), as a part of `GateLoss`."""
        if self._coefficients_L2 is None or self._upstream is None or self._batch is None:
            return None
        coefficients_2 = self._coefficients_L2[self.layers[layer]].to(gates_ET.dtype) * self._upstream
        first, *second = self._parts(gates_ET)
        gradient = first.mul_(coefficients_2[0])
        return gradient.addcmul_(second[0], coefficients_2[1]) if second else gradient

    def learn(self, layer: str, x: Tensor, router_ED: Tensor) -> None:
        """Form this router's own gradient from the forward pass, as a part of `GateLoss`.

        dL/dZ is linear in two numbers that are known only at the end of the step (see `attach`), so one product with x
        is kept for each of them; `own_gradients` puts them together. A softmax feels no shift of its logits, so that
        their gradients add up to 0: gate 0 is left out.
        """
        if not self._recording or self._batch is None or x.numel() // x.shape[-1] != self._batch.tokens:
            return
        x_TD = x.reshape(-1, x.shape[-1])
        logits_ET = router_ED.to(x.dtype) @ x_TD.t()
        gates_ET = logits_ET.softmax(dim=0, dtype=torch.promote_types(x.dtype, torch.float32))
        self.observe(layer, gates_ET)
        rows = [part.sub_((part * gates_ET).sum(0)).mul_(gates_ET)[1:] for part in self._parts(gates_ET)]
        moves = torch.cat(rows).to(x.dtype) @ x_TD
        moves = moves.unflatten(0, (len(rows), -1)).to(gates_ET.dtype)
        i = self.layers[layer]
        self._moves[i] = self._moves[i] + moves if i in self._moves else moves
        self._stop_after_the_last()

    def own_gradients(self, totals: Totals, *, gates: int, weight: float = 1.0) -> Tensor:
        """Return the gradient of beta * L_r from what `learn` has gathered since the last call: all routers, flat.

        Args:
            totals: over everything that L_r runs over.
            gates: E.
            weight: factor on the gradient.
        """
        coefficients_L2 = self._coefficients(totals, gates) * self.beta * weight
        found = []
        for i, coefficients_2 in enumerate(coefficients_L2):
            moves = self._moves.pop(i)
            own = torch.einsum("k,ked->ed", coefficients_2[: len(moves)].to(moves.dtype), moves)
            found.append(torch.cat([-own.sum(0, keepdim=True), own]).flatten())
        return torch.cat(found)

    def _coefficients(self, totals: Totals, gates: int) -> Tensor:
        """Return what dL_r of each router is linear in: (L, 2), the factors of `_parts`."""
        if self.scope == "token":
            slope_L = torch.zeros_like(totals.sums_L2[:, 0]) + 1 / totals.rows.clamp(min=1)
            return torch.stack([slope_L, torch.zeros_like(slope_L)], dim=1)
        n, mean_L, var_L = self._moments(totals, gates)
        # dL/dZ = 2 (Z - mean) / ((n - 1) mean) - var / (mean^2 n). The first part is measured from 1 / E, near the
        # mean, as the two would otherwise nearly cancel.
        slope_L = 2 / ((n - 1) * mean_L)
        slope_L2 = torch.stack([slope_L, slope_L * (1 / gates - mean_L) - var_L / (mean_L.square() * n)], dim=1)
        return torch.nan_to_num(slope_L2, nan=0.0, posinf=0.0, neginf=0.0)

    def _parts(self, gates_ET: Tensor) -> list[Tensor]:
        """Return d(gates) of every token per unit of each coefficient, (E, T) each; new tensors."""
        batch = self._batch
        assert batch is not None
        assert batch.weights is not None
        Z, E = batch.z(gates_ET), len(gates_ET)
        if self.scope == "token":
            mean, var = batch.mean_and_variance(Z)
            return [batch.weights * (2 * (Z - mean) / ((E - 1) * mean) - var / (mean.square() * E))]
        parts = [Z.sub_(1 / E).mul_(batch.weights), batch.weights.clone()]
        return [part @ batch.pool_ST for part in parts] if self.scope == "sample" else parts

    @staticmethod
    def _moments(totals: Totals, gates: int) -> tuple[Tensor, Tensor, Tensor]:
        n = totals.rows * gates
        mean_L = totals.sums_L2[:, 0] / n
        var_L = (totals.sums_L2[:, 1] - totals.sums_L2[:, 0] * mean_L) / (n - 1)
        return n, mean_L, var_L


class _Attach(torch.autograd.Function):
    """Adds the router loss to the value; in backward it hands the loss scale to `RouterLoss`.

    Every adapter's backward runs after this one, as each hangs on lm_loss: the scale (gradient accumulation, fp16
    scaler, ...) is known before any of them needs it.
    """

    @staticmethod
    def forward(ctx: Any, lm_loss: Tensor, value: Tensor, loss: RouterLoss) -> Tensor:
        ctx.loss = loss
        return lm_loss + value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        ctx.loss._upstream = grad.detach()
        return grad, None, None
