"""The cells of the version matrix: oldest and newest of each package, and the sets that people have.

No full product: each cell takes minutes, and each value of a dimension stands in one cell at least.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One set of versions.

    Attributes:
        llamafactory: a release, or "main" for the checkout, installed editable.
        expect: "all" of our methods, or "plain" where only upstream's own have to work.
        why: what the set stands for.
    """

    python: str
    llamafactory: str
    transformers: str
    peft: str
    torch: str
    torchvision: str
    torchaudio: str
    why: str
    expect: str = "all"
    also: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"py{self.python}-lf{self.llamafactory}-tf{self.transformers}-peft{self.peft}-torch{self.torch}"

    def pins(self) -> list[str]:
        names = ("transformers", "peft", "torch", "torchvision", "torchaudio")
        return [f"{name}=={getattr(self, name)}" for name in names] + list(self.also)


@dataclass(frozen=True)
class Serving:
    """One version of vLLM's CPU build, with the torch that it asks for.

    Attributes:
        expect: "all" of the plugin's tests, or "refused" where the version is older than what the plugin asks for.
    """

    vllm: str
    torch: str
    python: str
    why: str
    expect: str = "all"

    @property
    def name(self) -> str:
        return f"py{self.python}-vllm{self.vllm}-torch{self.torch}"


T26 = ("2.6.0", "0.21.0", "2.6.0")
T28 = ("2.8.0", "0.23.0", "2.8.0")
T211 = ("2.11.0", "0.26.0", "2.11.0")
T214 = ("2.14.1", "0.29.1", "2.11.1")
CELLS = (
    Cell("3.11", "0.9.5", "5.5.4", "0.18.1", *T211, "the set of constraints/train.txt"),
    Cell("3.12", "0.9.5", "5.5.4", "0.18.1", *T214, "a plain `pip install '.[train]'`"),
    Cell("3.11", "0.9.5", "5.0.0", "0.18.0", *T26, "the oldest of everything"),
    Cell("3.12", "main", "5.8.0", "0.18.1", *T214, "a clone and its own `pip install -e .`"),
    Cell("3.13", "main", "5.8.0", "0.20.0", *T214, "the newest of everything"),
    Cell("3.13", "0.9.5", "5.2.0", "0.18.1", *T28, "an older torch with its CUDA build kept"),
    Cell("3.12", "main", "5.0.0", "0.18.0", *T26, "a clone among old packages"),
    Cell("3.11", "main", "5.5.4", "0.19.1", *T28, "a clone in the middle"),
    Cell("3.12", "0.9.5", "5.4.0", "0.20.0", *T211, "PEFT beyond what the metadata asks for"),
    Cell("3.11", "0.9.5", "5.6.0", "0.18.1", *T211, "excluded for its FlashAttention-2"),
    Cell("3.11", "0.9.5", "4.57.6", "0.18.1", *T28, "transformers 4, which upstream still takes"),
    Cell("3.11", "0.9.4", "4.57.1", "0.17.1", *T28, "LLaMA-Factory before ours", "plain"),
)
SERVING = (
    Serving("0.28.0", "2.13.0+cpu", "3.11", "older than the plugin asks for", "refused"),
    Serving("0.30.0", "2.13.0+cpu", "3.11", "older than the plugin asks for", "refused"),
    Serving("0.32.0", "2.13.0+cpu", "3.11", "the set of constraints/vllm.txt"),
)
