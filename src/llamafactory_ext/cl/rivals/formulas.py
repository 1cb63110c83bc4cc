"""What the rivals compute. Tensors in, values out.

Shapes: D inputs of a linear, O outputs, R rank, P rows of all earlier A; B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

IGNORED = -100


def orthogonality(old_PD: Tensor, new_RD: Tensor) -> Tensor:
    """Return the sum of |A_old A_new^T| of one linear (O-LoRA, arXiv:2310.14152, as in its code).

    Args:
        old_PD: the rows of all earlier tasks' A.
        new_RD: A of this task.
    """
    return (old_PD @ new_RD.T).abs().sum()


def norms(weights: Iterable[Tensor]) -> Tensor:
    """Return the sum of the Frobenius norms of weights, O-LoRA's second term; its gradient at zero is zero."""
    return torch.stack([torch.linalg.vector_norm(weight) for weight in weights]).sum()


def quadratic(weights: Mapping[str, Tensor], importance: Mapping[str, Tensor], drawn: Mapping[str, Tensor]) -> Tensor:
    """Return half the sum of F (w - w*)^2 over earlier tasks, without its constant part (EWC, arXiv:1612.00796).

    The sum over tasks i of F_i (w - w_i)^2 is F w^2 - 2 w G and a constant; F sums up F_i, and G sums up F_i w_i.

    Args:
        weights: now.
        importance: F by name.
        drawn: G by name.
    """
    parts = [(0.5 * importance[name] * w.square() - drawn[name] * w).sum() for name, w in weights.items()]
    return torch.stack(parts).sum()


def distillation(student_BTV: Tensor, teacher_BTV: Tensor, labels_BT: Tensor, temperature: float) -> Tensor:
    """Return the mean of T^2 KL(teacher || student) over the tokens that are learnt (LwF, arXiv:1606.09282).

    Args:
        student_BTV: logits that are trained.
        teacher_BTV: logits of the adapter of the task before.
        labels_BT: of the batch; a position predicts the next one's label.
        temperature: that both are divided by.
    """
    learnt_BT = labels_BT[:, 1:] != IGNORED
    student = torch.log_softmax(student_BTV[:, :-1][learnt_BT] / temperature, dim=-1)
    teacher = torch.log_softmax(teacher_BTV[:, :-1][learnt_BT] / temperature, dim=-1)
    divergence = torch.nn.functional.kl_div(student, teacher, reduction="sum", log_target=True)
    return temperature**2 * divergence / max(1, int(learnt_BT.sum()))


def orthonormal_rows(a_RD: Tensor) -> Tensor:
    """Return an orthonormal basis of the rows of A, in their order and direction (SLAO, arXiv:2512.23017).

    The transpose of Q of A^T = Q R, with the diagonal of R positive, so that it is unique.
    """
    q_DR, r_RR = torch.linalg.qr(a_RD.T)
    signs = torch.where(r_RR.diagonal() < 0, -1.0, 1.0).to(q_DR.dtype)
    return (q_DR * signs).T.contiguous()


def merged(before_OR: Tensor, tuned_OR: Tensor, task: int) -> Tensor:
    """Return B after a task: a step of 1/sqrt(t) from the merged one to the trained one (SLAO).

    Args:
        before_OR: merged B of the tasks before.
        tuned_OR: B trained on this task.
        task: its number t, from 1.
    """
    return before_OR + (tuned_OR - before_OR) / math.sqrt(task)


def split(weight_OD: Tensor, kept: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split a weight by its singular values (OSF, arXiv:2504.07097).

    Args:
        weight_OD: the weight.
        kept: share of its singular directions, from the largest, that are frozen.

    Returns:
        U (O,K) and V (K,D) of the frozen part, and factors B (O,R) and A (R,D) of the rest, each with the roots of the
        singular values.
    """
    u, s, v = torch.linalg.svd(weight_OD, full_matrices=False)
    count = int(kept * s.shape[0])
    root = s[count:].sqrt()
    return u[:, :count], v[:count], u[:, count:] * root, root[:, None] * v[count:]


def without_columns(gradient_OR: Tensor, u_OK: Tensor) -> Tensor:
    """Return a gradient of B without its part in the span of frozen output directions (OSF)."""
    return gradient_OR - u_OK @ (u_OK.T @ gradient_OR)


def without_rows(gradient_RD: Tensor, v_KD: Tensor) -> Tensor:
    """Return a gradient of A without its part in the span of frozen input directions (OSF)."""
    return gradient_RD - (gradient_RD @ v_KD.T) @ v_KD
