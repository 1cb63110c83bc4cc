"""Next-token loss straight from the hidden states: logits exist for a part of the vocabulary, their gradient at once.

What it does: sum_k w_k * -log softmax(W h_k)[label_k] over the tokens that are trained. The vocabulary is cut into
blocks. Each block has a softmax of its own; its share of the whole is known when all have been seen, and multiplies
narrow factors only. Forward already knows the weights, so it also forms the gradient; neither full logits nor a
recomputation are ever needed. A head that is trained needs every block's softmax twice: they are kept where the head's
gradient will be. What it does not do: average; what to divide by is the caller's.

Shapes: B batch, T tokens, K trained tokens, C tokens at once, D width, V vocabulary, S a block of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

IGNORE_INDEX = -100
TOKENS_CPU, TOKENS_GPU = 1 << 10, 1 << 13  # at once
BLOCK_CPU, BLOCK_GPU = 1 << 21, 1 << 26  # logits alive at once
STORE_CPU, STORE_GPU = 3 << 22, 1 << 28  # logits of tokens for which the head's gradient has no room
COLUMNS_CPU = 1 << 10  # of logits in one product: from a width of 1024 on, that takes a quarter less time in float32


class _Tokens:
    """The loss of some tokens while the vocabulary passes by; `lse` is the log sum exp of what has passed.

    Args:
        hidden_CD: in the number type of the products.
        labels_C: token ids.
        weight_C1: of each token, or 1.
        high: number type of softmax and sums.
        train: whether dL/dhidden is wanted.
    """

    def __init__(
        self, hidden_CD: Tensor, labels_C: Tensor, weight_C1: Tensor | float, high: torch.dtype, train: bool
    ) -> None:
        self.hidden_CD, self.labels_C1, self.weight_C1 = hidden_CD, labels_C[:, None], weight_C1
        self.lse_C1 = hidden_CD.new_full(self.labels_C1.shape, -torch.inf, dtype=high)
        self.label_logit_C1 = torch.zeros_like(self.lse_C1)
        self.dhidden_CD = torch.zeros_like(hidden_CD, dtype=high) if train else None
        self.block_lse: list[Tensor] = []

    def see(self, logits_CS: Tensor, first: int, head_SD: Tensor) -> None:
        """Return a block of the vocabulary that begins at token id `first`; its logits become their softmax, in place.

        The label's own probability becomes 0: what it adds to the gradient, p - 1, is formed where it is not rounded.
        The softmax may overwrite its input, as it reads and writes one row after the other.
        """
        p_CS = logits_CS.to(self.lse_C1.dtype)  # the logits themselves where they are that exact
        place_C1 = self.labels_C1 - first
        here_C1 = (place_C1 >= 0) & (place_C1 < p_CS.shape[1])
        place_C1 = place_C1.clamp(0, p_CS.shape[1] - 1)
        self.label_logit_C1 = torch.where(here_C1, p_CS.gather(1, place_C1), self.label_logit_C1)
        greatest_C1 = p_CS.amax(dim=1, keepdim=True)
        torch.softmax(p_CS, dim=1, out=p_CS)
        block_lse_C1 = greatest_C1 - p_CS.amax(dim=1, keepdim=True).log()
        p_CS.scatter_(1, place_C1, torch.where(here_C1, 0.0, p_CS.gather(1, place_C1)))
        if p_CS.dtype != logits_CS.dtype:
            logits_CS.copy_(p_CS)
        lse_C1 = torch.logaddexp(self.lse_C1, block_lse_C1)
        if self.dhidden_CD is not None:
            self.dhidden_CD *= (self.lse_C1 - lse_C1).exp()
            self.dhidden_CD += (logits_CS @ head_SD) * (block_lse_C1 - lse_C1).exp()
        self.lse_C1 = lse_C1
        self.block_lse.append(block_lse_C1)

    def nll(self) -> Tensor:
        """Return the loss of each token, unweighted: (C, 1)."""
        return self.lse_C1 - self.label_logit_C1

    def label_moves(self) -> Tensor:
        """Return dL/d(label's logit) of each token: (C, 1)."""
        return torch.expm1(-self.nll()) * self.weight_C1

    def moves(self, block: int) -> Tensor:
        """Return what the softmax of a block is multiplied with to give dL/dlogits: (C, 1)."""
        return (self.block_lse[block] - self.lse_C1).exp() * self.weight_C1


@dataclass(frozen=True)
class _Head:
    """The output head and its gradients, as far as they are wanted.

    Attributes:
        weight_VD: in the number type of the products.
        bias_V: in the same, or None.
        dweight_VD: in float32 at least, zero.
        dbias_V: in float32 at least, zero.
    """

    weight_VD: Tensor
    bias_V: Tensor | None
    dweight_VD: Tensor | None
    dbias_V: Tensor | None

    def train(self, tokens: _Tokens, *, first: bool) -> None:
        """Let the whole vocabulary pass by the tokens; add up the head's gradients.

        Args:
            tokens: no more than D of them if they are the first and the head is trained.
            first: the weight's gradient is still empty: its memory keeps the softmax until it is formed.
        """
        C, V = len(tokens.hidden_CD), len(self.weight_VD)
        dtype, width = tokens.hidden_CD.dtype, max(1, (BLOCK_GPU if self.weight_VD.is_cuda else BLOCK_CPU) // C)
        ends = [(start, min(V, start + width)) for start in range(0, V, width)]
        keep = self.dweight_VD is not None or self.dbias_V is not None
        if first and self.dweight_VD is not None:
            stored = [self.dweight_VD[v:w].view(-1).view(dtype)[: C * (w - v)].view(C, w - v) for v, w in ends]
        else:
            memory = self.weight_VD.new_empty(C * (V if keep else min(V, width)))
            stored = [memory[C * v * keep :][: C * (w - v)].view(C, w - v) for v, w in ends]
        for logits_CS, (v, w) in zip(stored, ends, strict=True):
            columns = width if logits_CS.is_cuda else COLUMNS_CPU
            for head_SD, some_CS in zip(self.weight_VD[v:w].split(columns), logits_CS.split(columns, 1), strict=True):
                torch.mm(tokens.hidden_CD, head_SD.t(), out=some_CS)
            if self.bias_V is not None:
                logits_CS.add_(self.bias_V[v:w])
            tokens.see(logits_CS, v, self.weight_VD[v:w])
        if keep:
            for block, (p_CS, (v, w)) in enumerate(zip(stored, ends, strict=True)):
                moves_C1 = tokens.moves(block)
                if self.dbias_V is not None:
                    self.dbias_V[v:w] += moves_C1.squeeze(1) @ p_CS.to(moves_C1.dtype)
                if self.dweight_VD is not None:
                    _add_product_(self.dweight_VD[v:w], p_CS, (tokens.hidden_CD * moves_C1).to(dtype), replace=first)
            labels_C, moves_C1 = tokens.labels_C1.squeeze(1), tokens.label_moves()
            if self.dbias_V is not None:
                self.dbias_V.index_add_(0, labels_C, moves_C1.squeeze(1))
            if self.dweight_VD is not None:
                self.dweight_VD.index_add_(0, labels_C, tokens.hidden_CD * moves_C1)


def _add_product_(sum_SD: Tensor, p_CS: Tensor, hidden_CD: Tensor, *, replace: bool) -> None:
    """Add p^T hidden to the sum, or, from memory that p itself may lie in, put it there."""
    if replace:
        sum_SD.copy_(p_CS.t() @ hidden_CD)
    elif sum_SD.dtype == p_CS.dtype:
        sum_SD.addmm_(p_CS.t(), hidden_CD)  # no product of its size beside it
    else:
        sum_SD += p_CS.t() @ hidden_CD


def _cut(tokens: int, first: int, most: int) -> Iterator[slice]:
    """Return parts: `first`, if there are so many, and then as few as `most` allows, of about one size."""
    start = min(tokens, first)
    if start:
        yield slice(0, start)
    parts = -(-(tokens - start) // most)
    for left in range(parts, 0, -1):
        size = -(-(tokens - start) // left)
        yield slice(start, start + size)
        start += size


class _LinearNll(torch.autograd.Function):
    """The loss, with the gradients formed in forward and only scaled in backward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_KD: Tensor,
        head_VD: Tensor,
        bias_V: Tensor | None,
        labels_K: Tensor,
        weights_K: Tensor | None,
        dtype: torch.dtype,
        chunk: int | None,
        train: bool,
    ) -> Tensor:
        high = torch.promote_types(dtype, torch.float32)
        need_hidden, need_head, need_bias = (train and need for need in ctx.needs_input_grad[:3])
        K, (V, D), gpu = len(labels_K), head_VD.shape, head_VD.is_cuda
        dhidden = torch.empty_like(hidden_KD) if need_hidden else None
        dhead = torch.zeros(V, D, dtype=high, device=head_VD.device) if need_head else None
        dbias = torch.zeros(V, dtype=high, device=head_VD.device) if need_bias else None
        head = _Head(head_VD.to(dtype), None if bias_V is None else bias_V.to(dtype), dhead, dbias)
        loss = torch.zeros((), dtype=high, device=head_VD.device)
        most = chunk or (TOKENS_GPU if gpu else TOKENS_CPU)
        later = min(most, max(32, (STORE_GPU if gpu else STORE_CPU) // V)) if need_head or need_bias else most
        for part in _cut(K, min(most, D) if need_head else 0, later):
            weight = 1.0 if weights_K is None else weights_K[part, None].to(high)
            tokens = _Tokens(hidden_KD[part].to(dtype), labels_K[part], weight, high, need_hidden)
            head.train(tokens, first=part.start == 0)
            loss += (tokens.nll() * weight).sum()
            if dhidden is not None and tokens.dhidden_CD is not None:
                dhidden[part] = tokens.dhidden_CD * weight + head.weight_VD[labels_K[part]] * tokens.label_moves()
        found = zip((dhidden, dhead, dbias), (hidden_KD, head_VD, bias_V), strict=True)
        ctx.gradients = [g if g is None or like is None else g.to(like.dtype) for g, like in found]
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        return *(None if g is None else g.mul_(grad.to(g.dtype)) for g in gradients), *[None] * 5


def linear_nll(
    hidden_KD: Tensor,
    head_VD: Tensor,
    labels_K: Tensor,
    *,
    weights_K: Tensor | None = None,
    bias_V: Tensor | None = None,
    dtype: torch.dtype | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Return the weighted next-token loss in nats, summed; backward works once.

    Args:
        hidden_KD: what the output head sees at the positions before the labels.
        head_VD: the output head's weight.
        labels_K: token ids, none ignored.
        weights_K: >= 0, constant; 0 silences a token. None: 1 everywhere.
        bias_V: the output head's bias.
        dtype: number type of the matrix products (default: the hidden states'); softmax and sums are in float32 at
            least.
        chunk: the most tokens that pass the vocabulary together (default: by device).

    Returns:
        A scalar in float32 at least.
    """
    dtype = dtype or hidden_KD.dtype
    with torch.autocast(hidden_KD.device.type, enabled=False):
        result: Tensor = _LinearNll.apply(
            hidden_KD, head_VD, bias_V, labels_K, weights_K, dtype, chunk, torch.is_grad_enabled()
        )
    return result


def summed_nll(
    states_BTX: Tensor,
    labels_BT: Tensor,
    head: nn.Linear | None = None,
    dtype: torch.dtype | None = None,
    weights_BT: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Return next-token loss in nats, weighted and summed over the tokens whose label is not -100.

    Args:
        states_BTX: the model's `logits`: under `head_deferred(head)` the hidden states before the head, otherwise
            logits, of which only those needed are raised to float32.
        labels_BT: token ids or -100.
        head: what was deferred.
        dtype: number type of the head's product, as for `linear_nll`.
        weights_BT: >= 0, of each label, 0 as good as -100; None: 1 everywhere.
        smoothing: the part of each target that is spread evenly over the vocabulary (label_smoothing_factor).
    """
    kept_BT = labels_BT[:, 1:] != IGNORE_INDEX
    if weights_BT is not None:
        kept_BT &= weights_BT[:, 1:] != 0
    states_KX, labels_K = states_BTX[:, :-1][kept_BT], labels_BT[:, 1:][kept_BT]
    weights_K = None if weights_BT is None else weights_BT[:, 1:][kept_BT]
    if head is not None:
        loss = linear_nll(states_KX, head.weight, labels_K, weights_K=weights_K, bias_V=head.bias, dtype=dtype)
    else:
        states_KX = states_KX.to(torch.promote_types(states_KX.dtype, torch.float32))
        nll_K = nn.functional.cross_entropy(states_KX, labels_K, reduction="sum" if weights_K is None else "none")
        loss = (nll_K * weights_K).sum() if weights_K is not None else nll_K
    if smoothing:
        lead_K = _lead(states_KX, labels_K, head)
        loss = loss + smoothing * (lead_K if weights_K is None else lead_K * weights_K).sum()
    return loss


def _lead(states_KX: Tensor, labels_K: Tensor, head: nn.Linear | None) -> Tensor:
    """Return each label's logit minus the mean logit of the vocabulary, without forming the others.

    With a part s of the target spread evenly, the loss is the usual one plus s times this: the log sum exp is common
    to all logits, and only what is taken from it moves from the label to the mean.
    """
    high = torch.promote_types(states_KX.dtype, torch.float32)
    if head is None:
        return states_KX.gather(1, labels_K[:, None]).squeeze(1) - states_KX.mean(dim=1)
    apart_KD = head.weight[labels_K].to(high) - head.weight.mean(dim=0, dtype=high)
    lead_K = (states_KX.to(high) * apart_KD).sum(dim=1)
    return lead_K if head.bias is None else lead_K + head.bias[labels_K] - head.bias.mean()


@contextmanager
def head_deferred(head: nn.Linear | None) -> Iterator[None]:
    """Let the model's `logits` within be what its output head would see, for `summed_nll`; None changes nothing."""
    if head is None:
        yield
        return
    head.forward = lambda hidden: hidden  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del head.forward


def plain_head(model: nn.Module) -> nn.Linear | None:
    """Return the output head, if the model's logits are nothing but its output; None if something comes after it.

    Some architectures cap their logits (Gemma 2). Whatever it is shows in a forward pass of a few tokens.
    """
    get_head: Any = getattr(model, "get_output_embeddings", lambda: None)
    head = get_head()
    if type(head) is not nn.Linear or head._forward_hooks or head._forward_pre_hooks:
        return None
    training = model.training
    ids = torch.arange(8, device=head.weight.device)[None] % head.out_features
    try:
        model.eval()
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits
            with head_deferred(head):
                hidden = model(input_ids=ids, use_cache=False).logits
            same = hidden.shape[-1] == head.in_features and torch.equal(head(hidden.to(head.weight.dtype)), logits)
    finally:
        model.train(training)
    return head if same else None
