"""The two optimisers of the lab's pretraining as one, with a state made of named tensors only."""

import torch
from torch import Tensor, nn


class Optimisers:
    """Muon for the matrices inside the layers, AdamW for the embedding and the norms."""

    def __init__(self, model: nn.Module, matrix_lr: float, vector_lr: float) -> None:
        named = dict(model.named_parameters())
        matrices = {name: p for name, p in named.items() if p.ndim == 2 and "embed" not in name}
        vectors = {name: p for name, p in named.items() if name not in matrices}
        self.names = [list(matrices), list(vectors)]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(list(matrices.values()), lr=matrix_lr, weight_decay=0.01),
            torch.optim.AdamW(list(vectors.values()), lr=vector_lr, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self.rates = [matrix_lr, vector_lr]

    def step(self, factor: float) -> None:
        """Take one step with both learning rates scaled by `factor`, and clear the gradients."""
        for part, rate in zip(self.parts, self.rates, strict=True):
            for group in part.param_groups:
                group["lr"] = rate * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return all state tensors by parameter name."""
        tensors: dict[str, Tensor] = {}
        for part, names in zip(self.parts, self.names, strict=True):
            for name, parameter in zip(names, part.param_groups[0]["params"], strict=True):
                for key, value in part.state[parameter].items():
                    tensors[f"optimiser/{name}/{key}"] = value.detach().clone().contiguous()
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put saved state tensors back."""
        for part, names in zip(self.parts, self.names, strict=True):
            for name, parameter in zip(names, part.param_groups[0]["params"], strict=True):
                prefix = f"optimiser/{name}/"
                part.state[parameter] = {
                    key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
                }
