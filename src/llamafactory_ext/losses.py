"""Next-token loss straight from the hidden states: logits exist for a few tokens at a time, their gradient at once.

What it does: sum_k w_k * -log softmax(W h_k)[label_k] over the tokens that are trained, in chunks. Forward already
knows the weights, so it also forms the gradient; neither full logits nor a recomputation are ever needed. What it does
not do: average; what to divide by is the caller's.

Shapes: B batch, T tokens, K trained tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

IGNORE_INDEX = -100
CHUNK_CPU = 3 << 22  # logits alive at once
CHUNK_GPU = 1 << 28
BLOCK_CPU = 1 << 19  # of these, what the softmax passes over several times; it stays in the cache
BLOCK_GPU = 1 << 26


def _softmax_gradient_(
    logits_CV: Tensor, labels: Tensor, weight: Tensor | None, dbias_V: Tensor | None, high: torch.dtype, train: bool
) -> Tensor:
    """Summed loss of a chunk; turns its logits into their gradient, in place, if there is something to train.

    Args:
        logits_CV: overwritten.
        labels: token ids, (C, 1).
        weight: of each token, (C, 1).
        dbias_V: takes up the gradient of the logits, summed over the tokens, before it is rounded.
        high: number type of softmax and sums.
        train: whether the gradient is wanted.
    """
    loss = torch.zeros((), dtype=high, device=logits_CV.device)
    rows = max(1, (BLOCK_GPU if logits_CV.is_cuda else BLOCK_CPU) // logits_CV.shape[1])
    for start in range(0, len(logits_CV), rows):
        part = slice(start, start + rows)
        p, label = logits_CV[part].to(high), labels[part]  # the logits themselves where they are that exact
        p -= p.amax(dim=1, keepdim=True)
        label_logit = p.gather(1, label)
        total = p.exp_().sum(dim=1, keepdim=True)
        nll = total.log() - label_logit
        loss += (nll if weight is None else nll * weight[part]).sum()
        if train:
            p.scatter_add_(1, label, -total)
            p *= total.reciprocal() if weight is None else weight[part] / total
            if dbias_V is not None:
                dbias_V += p.sum(0)
            if p.dtype != logits_CV.dtype:
                logits_CV[part] = p
    return loss


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
        chunk: int,
        train: bool,
    ) -> Tensor:
        head = head_VD.to(dtype)
        high = torch.promote_types(dtype, torch.float32)
        need_hidden, need_head, need_bias = (train and need for need in ctx.needs_input_grad[:3])
        dhidden = torch.empty_like(hidden_KD) if need_hidden else None
        dhead = torch.zeros(head_VD.shape, dtype=high, device=head_VD.device) if need_head else None
        dbias = torch.zeros(head_VD.shape[0], dtype=high, device=head_VD.device) if need_bias else None
        loss = torch.zeros((), dtype=high, device=hidden_KD.device)
        chunk = -(-len(labels_K) // max(1, -(-len(labels_K) // chunk)))  # as few, but of one size
        buffer_CV = torch.empty(chunk, head_VD.shape[0], dtype=dtype, device=hidden_KD.device)
        for start in range(0, len(labels_K), max(1, chunk)):
            part = slice(start, start + chunk)
            hidden, labels = hidden_KD[part].to(dtype), labels_K[part, None]
            weight = None if weights_K is None else weights_K[part, None].to(high)
            logits = torch.mm(hidden, head.t(), out=buffer_CV[: len(labels)])
            if bias_V is not None:
                logits += bias_V.to(dtype)
            loss += _softmax_gradient_(logits, labels, weight, dbias, high, need_hidden or need_head or need_bias)
            if dhidden is not None:
                dhidden[part] = logits @ head
            if dhead is not None and dhead.dtype == dtype:
                dhead.addmm_(logits.t(), hidden)  # no product of the head's size beside it
            elif dhead is not None:
                dhead += logits.t() @ hidden
        del buffer_CV
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
    """Weighted next-token loss in nats, summed; backward works once.

    Args:
        hidden_KD: what the output head sees at the positions before the labels.
        head_VD: the output head's weight.
        labels_K: token ids, none ignored.
        weights_K: >= 0, constant; 0 silences a token. None: 1 everywhere.
        bias_V: the output head's bias.
        dtype: number type of the matrix products (default: the hidden states'); softmax and sums are in float32 at
            least.
        chunk: tokens whose logits exist at once (default: by V and device).

    Returns:
        A scalar in float32 at least.
    """
    elements = CHUNK_GPU if hidden_KD.is_cuda else CHUNK_CPU
    chunk = chunk or max(32, elements // head_VD.shape[0])
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
) -> Tensor:
    """Next-token loss in nats, weighted and summed over the tokens whose label is not -100.

    Args:
        states_BTX: the model's `logits`: under `head_deferred(head)` the hidden states before the head, otherwise
            logits, of which only those needed are raised to float32.
        labels_BT: token ids or -100.
        head: what was deferred.
        dtype: number type of the head's product, as for `linear_nll`.
        weights_BT: >= 0, of each label, 0 as good as -100; None: 1 everywhere.
    """
    kept_BT = labels_BT[:, 1:] != IGNORE_INDEX
    if weights_BT is not None:
        kept_BT &= weights_BT[:, 1:] != 0
    states_KX, labels_K = states_BTX[:, :-1][kept_BT], labels_BT[:, 1:][kept_BT]
    weights_K = None if weights_BT is None else weights_BT[:, 1:][kept_BT]
    if head is not None:
        return linear_nll(states_KX, head.weight, labels_K, weights_K=weights_K, bias_V=head.bias, dtype=dtype)
    states_KX = states_KX.to(torch.promote_types(states_KX.dtype, torch.float32))
    if weights_K is None:
        return nn.functional.cross_entropy(states_KX, labels_K, reduction="sum")
    return (nn.functional.cross_entropy(states_KX, labels_K, reduction="none") * weights_K).sum()


@contextmanager
def head_deferred(head: nn.Linear | None) -> Iterator[None]:
    """Within, the model's `logits` are what its output head would see, for `summed_nll`; None changes nothing."""
    if head is None:
        yield
        return
    head.forward = lambda hidden: hidden  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del head.forward


def plain_head(model: nn.Module) -> nn.Linear | None:
    """The output head, if the model's logits are nothing but its output; None if something comes after it.

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
