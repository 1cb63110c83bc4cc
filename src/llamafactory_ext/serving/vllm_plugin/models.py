"""What exported models of all methods share in vLLM: one class per family, made from the table, and loading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from torch import Tensor, nn

from ...errors import CheckpointError
from ...families import FAMILIES, Family
from ...methods import load

STAND_IN = "vllm.model_executor.models.llama:LlamaForCausalLM"
"""The class behind families that vLLM has none for, which are refused before it is made."""


class ExportedMixin:
    """Puts a method's modules into vLLM's model, and loads their tensors; a missing or unknown one is an error.

    Attributes:
        marks: parts of names by which the method's own tensors are known.
        base_type: the model type that vLLM's own class knows.
    """

    marks: ClassVar[tuple[str, ...]]
    base_type: ClassVar[str]

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        self.check(vllm_config)
        config = vllm_config.model_config.hf_config
        config.model_type = self.base_type  # some of vLLM's classes ask for it
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]  # vLLM's class beside it
        self._seen: set[str] = set()
        self._expected: list[str] = []
        self.put(config)

    @staticmethod
    def check(vllm_config: Any) -> None:
        """Refuse what would not be the same model.

        Args:
            vllm_config: vLLM's whole configuration.
        """
        raise NotImplementedError

    def put(self, config: Any) -> None:
        """Put the method's modules in, and name the tensors that must come.

        Args:
            config: transformers' configuration.
        """
        raise NotImplementedError

    def take(self, name: str, tensor: Tensor) -> str | None:
        """Take one of the method's tensors.

        Returns:
            The name of what it went into; None where another pipeline stage has it.
        """
        raise NotImplementedError

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the backbone as vLLM does, and what the method adds; all of it by the end of the first call."""
        into: set[str] = set()

        def backbone() -> Iterator[tuple[str, Tensor]]:
            for name, tensor in weights:
                self._seen.add(name)
                if not any(mark in name for mark in self.marks):
                    yield name, tensor
                elif put := self.take(name, tensor):
                    into.add(put)

        into |= super().load_weights(backbone())  # type: ignore[misc]
        missing = [name for name in self._expected if name not in self._seen]
        parameters: Iterable[tuple[str, nn.Parameter]] = self.named_parameters()  # type: ignore[attr-defined]
        own = [name for name, _ in parameters if not any(mark in name for mark in self.marks)]
        missing += [name for name in own if name not in into]
        if missing:
            raise CheckpointError(
                f"the model directory lacks {len(missing)} tensors, {missing[0]} for example; the export is "
                "incomplete, write it again with `llamafactory-cli export`."
            )
        return into


def classes(prefix: str, mixin: type[ExportedMixin], module: str) -> Callable[[str], Any]:
    """Return a module's `__getattr__` that makes a method's class of a family when vLLM asks for it by name.

    Args:
        prefix: of the classes' names.
        mixin: of the method.
        module: the module's name.
    """
    made: dict[str, Any] = {}
    rows: dict[str, Family] = {f"{prefix}{row.model}": row for row in FAMILIES}

    def find(name: str) -> Any:
        if name not in rows:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if name not in made:
            row = rows[name]
            base, doc = load(row.vllm_class or STAND_IN), f"{prefix.lower()}_{row.model_type}."
            body = {"__module__": module, "__doc__": doc, "base_type": row.model_type}
            made[name] = type(name, (mixin, base), body)
        return made[name]

    return find


def foreign(name: str, block: str) -> CheckpointError:
    """Return the error for a tensor that config.json knows nothing of.

    Args:
        name: of the tensor.
        block: the method's part of config.json, as a text.
    """
    return CheckpointError(
        f"tensor {name} belongs to an adapter that config.json does not name in {block}; config.json and weights are "
        "of different exports: export the checkpoint again."
    )
