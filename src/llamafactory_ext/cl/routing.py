"""`python -m llamafactory_ext.cl.routing JOB.json`: which expert a prompt is for, by the base model's embeddings.

`data_protect: experts` trains an adapter of its own for each task. A prompt goes to the expert with the nearest
prototype, or to the base model where that is further away than the expert's own prompts. Prototypes are centres of
k-means over the prompts' mean embeddings. It reads the prompt only, so no later token changes an answer. Prototypes, a
distance per task and one matrix are all that is kept; a later task changes none of them.

Shapes: N prompts, K prototypes, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..checkpoint.atomic import write_json
from ..serving.infer import prompts
from ..serving.infer.hf import HfBackend
from ..serving.infer.options import InferOptions
from ..serving.infer.questions import of_file
from .answering import run_job, upstreams

BASE: Final = -1  # no expert
_HELD_OUT: Final = 5  # every fifth prompt measures distances instead of forming prototypes
_PROTOTYPES: Final = 48  # at most; and at most one for four prompts
_ROUNDS: Final = 20
_SHRINKAGE: Final = 0.1


@dataclass(frozen=True)
class Expert:
    """Where a task's prompts lie, in the whitened space.

    Attributes:
        prototypes_KD: centres of groups of prompts.
        reach: the largest distance to the nearest of them, of a prompt that formed none.
    """

    prototypes_KD: Tensor
    reach: float


def whitening(features_ND: Tensor) -> Tensor:
    """Return W (D,D), with which the first task's features have about unit variance within their groups."""
    learnt = _learnt(features_ND)
    centres, groups = k_means(learnt)
    rest = learnt - centres[groups]
    covariance = rest.T @ rest / len(rest)
    size = covariance.shape[0]
    level = (covariance.trace() / size).clamp_min(1e-12)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * level * torch.eye(size, dtype=covariance.dtype)
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.rsqrt() @ vectors.T


def expert_of(features_ND: Tensor, w_DD: Tensor) -> Expert:
    """Return where prompts lie.

    Args:
        features_ND: of a task's training prompts.
        w_DD: the first task's whitening.
    """
    prototypes, _ = k_means(_learnt(features_ND) @ w_DD)
    return Expert(prototypes, float(_nearest(features_ND[::_HELD_OUT] @ w_DD, prototypes).max()))


def routed(features_ND: Tensor, experts: Sequence[Expert], w_DD: Tensor) -> list[int]:
    """Return the expert of each prompt, `BASE` where it lies beyond the reach of the nearest.

    Args:
        features_ND: of the prompts.
        experts: by task.
        w_DD: the first task's whitening.
    """
    distances = torch.stack([_nearest(features_ND @ w_DD, expert.prototypes_KD) for expert in experts])
    nearest, places = distances.min(0)
    return [
        place if distance <= experts[place].reach * (1 + 1e-6) + 1e-6 else BASE
        for distance, place in zip(nearest.tolist(), places.tolist(), strict=True)
    ]


def k_means(points_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centres of groups (K,D) and each point's group (N,); always the same for the same points.

    It begins with the point nearest to the mean and, one after the other, the furthest from all chosen.
    """
    count = max(1, min(_PROTOTYPES, len(points_ND) // 4))
    chosen = [int(torch.linalg.vector_norm(points_ND - points_ND.mean(0), dim=-1).argmin())]
    while len(chosen) < count:
        chosen.append(int(_nearest(points_ND, points_ND[chosen]).argmax()))
    centres = points_ND[chosen]
    for _ in range(_ROUNDS):
        groups = torch.cdist(points_ND, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, groups, points_ND)
        sizes = torch.bincount(groups, minlength=count).to(centres.dtype)[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp_min(1), centres)
    return centres, torch.cdist(points_ND, centres).argmin(1)


def _learnt(features_ND: Tensor) -> Tensor:
    """Return the prompts that form prototypes; a single one does both."""
    kept = torch.arange(len(features_ND)) % _HELD_OUT != 0
    return features_ND[kept] if bool(kept.any()) else features_ND


def _nearest(points_ND: Tensor, centres_KD: Tensor) -> Tensor:
    return torch.cdist(points_ND, centres_KD).min(1).values


def run(job: dict[str, Any]) -> None:
    """Learn where a task's prompts lie, or route prompts.

    Args:
        job: model, template, batch_size; to learn: learn {dataset, out, first}; to route: experts (files), and
            route, a list of {dataset, out}.
    """
    prompts.ELSEWHERE[:] = [upstreams]
    learn, route = job.get("learn"), job.get("route", [])
    first = learn["dataset"] if learn else route[0]["dataset"]
    options = InferOptions(
        model=job["model"], template=job["template"], backend="hf", dataset=first, batch_size=job["batch_size"]
    )
    backend = HfBackend(options)
    if learn:
        found = _features(backend, learn["dataset"])
        w = load_file(learn["first"])["whitening"].double() if learn["first"] else whitening(found)
        expert = expert_of(found, w)
        tensors = {"prototypes": expert.prototypes_KD.float(), "reach": torch.tensor([expert.reach])}
        if not learn["first"]:
            tensors["whitening"] = w.float()
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, learn["out"])
        return
    files = [load_file(path) for path in job["experts"]]
    experts = [Expert(file["prototypes"].double(), float(file["reach"])) for file in files]
    for item in route:
        features = _features(backend, item["dataset"])
        write_json(Path(item["out"]), routed(features, experts, files[0]["whitening"].double()))


def _features(backend: HfBackend, dataset: str) -> Tensor:
    asked = [backend.prompt(question) for question in of_file(Path(dataset), "cl").questions]
    return torch.stack(list(backend.features(asked)))


if __name__ == "__main__":
    run_job(run)
