"""Context distillation: the model with knowledge teaches itself without (a rival of SKIntern, arXiv:2209.15189).

The model as the first step leaves it answers every record with all knowledge; the second step learns its distributions
over the target's tokens from the question alone. Kept are the most probable tokens of each position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from ..errors import DataError
from ..training.losses import IGNORE_INDEX
from .trainer import SkinternTrainer

KEPT: Final = 32  # tokens of each position; the rest of a trained model's probability is small
_BATCH: Final = 16


@dataclass
class Teacher:
    """What a model says at the target's positions, by the ids of the row that learns it.

    Attributes:
        said: probabilities and token ids, (K, KEPT) each, of a row's K trained positions.
    """

    said: dict[tuple[int, ...], tuple[Tensor, Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any, known: Any, bare: Any, pad: int) -> Teacher:
        """Ask a model about rows with knowledge, for the same records without.

        Args:
            model: as it is to teach.
            known: upstream's rows of the step with all knowledge.
            bare: its rows of the step without, of the same records in the same order.
            pad: id that fills the rows of a batch.

        Raises:
            DataError: the rows are not of the same records.
        """
        rows = [(row["input_ids"], row["labels"]) for row in known]
        others = [(row["input_ids"], row["labels"]) for row in bare]
        same = len(rows) == len(others) and all(
            _targets(one) == _targets(other) for (_, one), (_, other) in zip(rows, others, strict=True)
        )
        if not same:
            raise DataError(
                "skintern_baseline: distil needs every record with its knowledge and without, and the same answer in "
                "both; some are cut or left out. Raise cutoff_len, or set skintern_overflow: shots."
            )
        found, training = cls(), model.training
        model.eval()
        try:
            for chosen in _batches([len(ids) for ids, _ in rows]):
                for index, said in zip(chosen, _ask(model, [rows[index] for index in chosen], pad), strict=True):
                    found.said[tuple(others[index][0])] = said
        finally:
            model.train(training)
        return found

    def loss(self, logits_BTV: Tensor, ids_BT: Tensor, mask_BT: Tensor, labels_BT: Tensor) -> Tensor:
        """Return the sum over trained positions of KL(teacher || student), on the tokens that were kept."""
        total = logits_BTV.new_zeros((), dtype=torch.float32)
        for logits_TV, ids_T, mask_T, labels_T in zip(logits_BTV, ids_BT, mask_BT, labels_BT, strict=True):
            p_KC, ids_KC = (part.to(logits_TV.device) for part in self.said[tuple(ids_T[mask_T.bool()].tolist())])
            places_K = (labels_T[1:] != IGNORE_INDEX).nonzero().squeeze(1)
            log_q_KV = torch.log_softmax(logits_TV[places_K].float(), dim=-1)
            log_q_KC = log_q_KV.gather(1, ids_KC)
            total = total + (p_KC * (p_KC.clamp_min(1e-12).log() - log_q_KC)).sum()
        return total


@torch.no_grad()
def _ask(model: Any, rows: Sequence[tuple[list[int], list[int]]], pad: int) -> Iterator[tuple[Tensor, Tensor]]:
    longest = max(len(ids) for ids, _ in rows)
    ids_BT = torch.full((len(rows), longest), pad)
    mask_BT = torch.zeros_like(ids_BT)
    for row, (ids, _) in enumerate(rows):
        ids_BT[row, : len(ids)] = torch.tensor(ids)
        mask_BT[row, : len(ids)] = 1
    logits_BTV = model(input_ids=ids_BT.to(model.device), attention_mask=mask_BT.to(model.device)).logits
    for logits_TV, (_, labels) in zip(logits_BTV, rows, strict=True):
        places_K = (torch.tensor(labels)[1:] != IGNORE_INDEX).nonzero().squeeze(1).to(logits_TV.device)
        p_KV = torch.softmax(logits_TV[places_K].float(), dim=-1)
        p_KC, ids_KC = p_KV.topk(min(KEPT, p_KV.shape[1]), dim=-1)
        yield (p_KC / p_KC.sum(-1, keepdim=True)).cpu(), ids_KC.cpu()


def _targets(labels: list[int]) -> list[int]:
    return [label for label in labels if label != IGNORE_INDEX]


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), _BATCH):
        yield order[start : start + _BATCH]


class DistilTrainer(SkinternTrainer):
    """Learns what a teacher says in place of the target's tokens; evaluation keeps the next-token loss.

    Args:
        teacher: of every training row.
    """

    def __init__(self, *, teacher: Teacher, **kwargs: Any) -> None:
        self.teacher = teacher
        self._rows: tuple[Tensor, Tensor] | None = None
        super().__init__(**kwargs)
        self._head = None  # the distributions need the logits themselves

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any) -> Any:
        """Return the loss of one micro-batch, as its part of the step's."""
        self._rows = (inputs["input_ids"], inputs["attention_mask"]) if model.training else None
        try:
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        finally:
            self._rows = None

    def _mean_nll(self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        if self._rows is None:
            return super()._mean_nll(outputs, labels, num_items_in_batch)
        own = (labels[:, 1:] != IGNORE_INDEX).sum()
        items = own if num_items_in_batch is None else num_items_in_batch
        total = self.teacher.loss(outputs["logits"], *self._rows, labels)
        return total / torch.as_tensor(items, device=labels.device).clamp(min=1)
