"""Terms beside the language-model loss: added where the model computes its loss, once per optimiser step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import TrainerCallback

from .formulas import IGNORED, distillation, norms, orthogonality, quadratic

Term = Callable[[nn.Module, Mapping[str, Any], Any], Tensor]  # (model, inputs, outputs) -> value


class AddedTerm(TrainerCallback):
    """Add a term to the loss of every training micro-batch, in proportion to its share of a step's tokens.

    Over the micro-batches and processes of an optimiser step the shares add up to one.

    Args:
        term: (model, inputs, outputs) -> value.
    """

    def __init__(self, term: Term) -> None:
        self.term = term
        self._is_inside = False
        self._hook: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Hook into the model's loss."""
        self._hook = model.register_forward_hook(self._add, with_kwargs=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the model as it was."""
        self._hook.remove()

    def _add(self, model: nn.Module, args: Any, inputs: dict[str, Any], outputs: Any) -> Any:
        if self._is_inside or not model.training or inputs.get("labels") is None:
            return None
        self._is_inside = True  # a term may run the model once more
        try:
            term = self.term(model, inputs, outputs)
        finally:
            self._is_inside = False
        outputs.loss = outputs.loss + share_of_step(inputs) * term.to(outputs.loss.dtype)
        return outputs


def share_of_step(inputs: Mapping[str, Any]) -> Tensor | float:
    """Return the share of a step's tokens in a micro-batch; 1 where the trainer averages micro-batches itself."""
    items = inputs.get("num_items_in_batch")
    return 1.0 if items is None else (inputs["labels"] != IGNORED).sum() / items


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that learn, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def olora_term(old: Mapping[str, Tensor], *, weight: float, l2: float) -> Term:
    """Return O-LoRA's term.

    Args:
        old: rows of all earlier A by the name of the parameter A.
        weight: of the orthogonality.
        l2: of the norms of the new A and B.
    """

    def term(model: nn.Module, inputs: Mapping[str, Any], outputs: Any) -> Tensor:
        new = trained_weights(model)
        parts = [weight * orthogonality(old[name].to(new[name].device), new[name]) for name in old if name in new]
        if l2:
            parts.append(l2 * norms(new.values()))
        return torch.stack(parts).sum() if parts else next(iter(new.values())).new_zeros(())

    return term


def ewc_term(importance: Mapping[str, Tensor], drawn: Mapping[str, Tensor], *, strength: float) -> Term:
    """Return EWC's term, see `quadratic`."""

    def term(model: nn.Module, inputs: Mapping[str, Any], outputs: Any) -> Tensor:
        weights = {name: weight for name, weight in trained_weights(model).items() if name in importance}
        place = next(iter(weights.values())).device
        f, g = ({name: tensor.to(place) for name, tensor in found.items()} for found in (importance, drawn))
        return strength * quadratic(weights, f, g)

    return term


def lwf_term(before: Mapping[str, Tensor], *, strength: float, temperature: float) -> Term:
    """Return LwF's term: the teacher is the same model with the weights of the task before.

    Args:
        before: those weights by name.
        strength: weight of the term.
        temperature: of the distillation.
    """

    def term(model: nn.Module, inputs: Mapping[str, Any], outputs: Any) -> Tensor:
        place = outputs.logits.device
        asked = {name: value for name, value in inputs.items() if name not in ("labels", "num_items_in_batch")}
        weights = {name: tensor.to(place) for name, tensor in before.items()}
        with torch.no_grad():
            teacher = functional_call(model, weights, (), asked)
        loss = distillation(outputs.logits.float(), teacher.logits.float(), inputs["labels"], temperature)
        return strength * loss

    return term


class Fisher(TrainerCallback):
    """Estimate the diagonal Fisher information of the trained weights when a training ends (EWC).

    The mean over items of the squared gradient of an answer's log-likelihood, with the answers of the data.

    Args:
        items: how many training items it takes at most.
        seed: by which they are drawn.

    Attributes:
        importance: F by the name of the weight.
        weights: the weights at the end.
    """

    def __init__(self, *, items: int, seed: int) -> None:
        self.items, self.seed = items, seed
        self.importance: dict[str, Tensor] = {}
        self.weights: dict[str, Tensor] = {}

    def on_train_end(
        self, args: Any, state: Any, control: Any, model: Any = None, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        """Go through the items one by one."""
        data = train_dataloader.dataset
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(self.seed))[: self.items].tolist()
        batches = (train_dataloader.collate_fn([data[place]]) for place in order)
        self.weights = {name: weight.detach().cpu().clone() for name, weight in trained_weights(model).items()}
        self.importance = fisher(model, batches)


def fisher(model: nn.Module, batches: Any) -> dict[str, Tensor]:
    """Return the mean over batches of one item each of the squared gradient of the log-likelihood, by weight.

    Args:
        model: whose outputs have a loss, the mean over the tokens that are learnt.
        batches: inputs with labels.
    """
    weights = trained_weights(model)
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    was_training, count = model.training, 0
    place = next(iter(weights.values())).device
    model.eval()
    try:
        for batch in batches:
            inputs = {name: value.to(place) for name, value in batch.items() if isinstance(value, Tensor)}
            learnt = int((inputs["labels"][:, 1:] != IGNORED).sum())
            if not learnt:
                continue
            loss = model(**inputs).loss * learnt
            gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for name, gradient in zip(weights, gradients, strict=True):
                if gradient is not None:
                    sums[name] += gradient.square()
            count += 1
    finally:
        model.train(was_training)
    return {name: (total / max(1, count)).cpu() for name, total in sums.items()}
