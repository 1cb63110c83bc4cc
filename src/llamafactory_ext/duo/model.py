"""DATA's adapter as a PEFT tuner: `peft.get_peft_model(model, DataAdapterConfig(...))`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

from ..errors import CheckpointError, OptionError
from .config import DataAdapterConfig
from .gate import DataAdapterLayer, GateRows, LayerGate
from .gating import orthogonality
from .layer import UNMERGEABLE, DataAdapterLinear
from .targets import check_targets, decoder_layers

_GATE = "data_gate"  # the attribute of a decoder layer


class DataAdapterModel(BaseTuner):
    """Puts a `DataAdapterLinear` in place of every targeted linear, and gates on the decoder layers."""

    prefix: str = "data_adapter_"
    tuner_layer_cls = DataAdapterLayer
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}  # all linears of the decoder layers, whatever the model

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        config: DataAdapterConfig = self.peft_config[adapter_name]
        layers, names = check_targets(model, config)
        config.target_modules, excluded = names, config.exclude_modules
        config.exclude_modules = None  # the names say it all
        self._layers = list(layers)
        self._width = _width(model, layers)
        if (rows := len(config.tasks) * config.components) > self._width and config.gate != "none":
            raise OptionError(
                f"{len(config.tasks)} tasks with {config.components} components need {rows} rows per gate, but the "
                f"model is {self._width} wide; use fewer components, or begin a new sequence of tasks."
            )
        self._prepare_gates(layers)
        super().inject_adapter(model, adapter_name, *args, **kwargs)
        config.target_modules, config.exclude_modules = names, excluded  # PEFT shortens long lists

    def _prepare_gates(self, layers: dict[str, nn.Module]) -> None:
        """Give every decoder layer its `LayerGate` and the hooks that open it, once."""
        previous: LayerGate | None = None
        for number, layer in enumerate(layers.values()):
            gate: Any = getattr(layer, _GATE, None)
            if gate is None:
                gate = LayerGate(number, previous)
                layer.add_module(_GATE, gate)
                layer.register_forward_pre_hook(gate.enter, with_kwargs=True)
                layer.register_forward_hook(gate.leave)
            previous = gate

    def _create_and_replace(
        self,
        peft_config: DataAdapterConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        number = next(i for i, name in enumerate(self._layers) if current_key.startswith(f"{name}."))
        layer = self.model.get_submodule(self._layers[number])
        if peft_config.gate != "none":
            self._open_group(peft_config, adapter_name, number)
        settings: dict[str, Any] = {
            "low_rank": peft_config.low_rank,
            "high_rank": peft_config.high_rank,
            "init": peft_config.init,
            "gated": peft_config.gate != "none",
            "init_weights": peft_config.init_weights,
        }
        if isinstance(target, DataAdapterLinear):
            target.update_layer(adapter_name, **settings)
            return
        linear = DataAdapterLinear(target, getattr(layer, _GATE).opened)
        linear.update_layer(adapter_name, **settings)
        if adapter_name not in self.active_adapters:
            linear.requires_grad_(False)
        self._replace_module(parent, target_name, linear, target)

    def _open_group(self, config: DataAdapterConfig, adapter_name: str, number: int) -> None:
        """Put the rows of an adapter's gate on the first layer of a layer's group, unless they are there."""
        first = number - number % config.layers_per_gate
        layer = self.model.get_submodule(self._layers[first])
        gate: LayerGate = getattr(layer, _GATE)
        if adapter_name in gate.data_adapter_gate:
            return
        seed = config.seed * 1009 + first
        rows = GateRows(config.gate, self._width, config.components, len(config.tasks), seed)
        beside = next(layer.parameters())
        if not beside.is_meta and not any(parameter.is_meta for parameter in rows.parameters()):
            rows.to(beside.device, torch.promote_types(beside.dtype, torch.float32))
        gate.data_adapter_gate[adapter_name] = rows
        BaseTunerLayer.set_adapter(gate, self.active_adapters)

    def gates(self, adapter_name: str | None = None) -> dict[int, GateRows]:
        """Return the gates of an adapter, the active one if none is named, by the number of their first layer."""
        name = adapter_name or str(self.active_adapters[0])
        found = (getattr(self.model.get_submodule(layer), _GATE) for layer in self._layers)
        return {i: gate.data_adapter_gate[name] for i, gate in enumerate(found) if name in gate.data_adapter_gate}

    def open_gates(self, adapter_name: str | None = None) -> dict[int, Tensor]:
        """Return the gates of the last forward pass, (2, B, L), by the number of each group's first layer."""
        name = adapter_name or str(self.active_adapters[0])
        layers = {i: self.model.get_submodule(self._layers[i]) for i in self.gates(name)}
        opened = {i: getattr(layer, _GATE).opened.gates.get(name) for i, layer in layers.items()}
        return {i: gate.detach() for i, gate in opened.items() if gate is not None}

    def linears(self) -> dict[str, DataAdapterLinear]:
        """Return the adapted linears by the name they have in the base model, in the model's order."""
        return {name: module for name, module in self.model.named_modules() if isinstance(module, DataAdapterLinear)}

    def ortho_loss(self, adapter_name: str | None = None) -> Tensor:
        """Return how far the gates' rows are from orthonormal, mean over the groups: of the last training pass."""
        name = adapter_name or str(self.active_adapters[0])
        losses = []
        for number, rows in self.gates(name).items():
            opened = getattr(self.model.get_submodule(self._layers[number]), _GATE).opened
            found = opened.ortho.get(name)
            if found is None or not found.requires_grad:
                found = orthogonality(*(rows.rows(part) for part in "KAW"))
            losses.append(found)
        if not losses:
            return torch.zeros((), device=next(self.model.parameters()).device)
        return torch.stack([loss.to(losses[0].device) for loss in losses]).mean()

    def add_task(self, name: str, adapter_name: str | None = None) -> None:
        """Begin a task: the rows so far are frozen, and each gate gets `components` new ones.

        Raises:
            OptionError: the sequence has a task of this name, or the width has no room for more rows.
        """
        adapter = adapter_name or str(self.active_adapters[0])
        config: DataAdapterConfig = self.peft_config[adapter]
        if name in config.tasks:
            raise OptionError(f"The sequence has a task {name!r} already: {', '.join(config.tasks)}; name another.")
        rows = (len(config.tasks) + 1) * config.components
        if config.gate != "none" and rows > self._width:
            raise OptionError(
                f"Task {name!r} needs {rows} rows per gate ({config.components} for each of {len(config.tasks) + 1} "
                f"tasks), but the model is {self._width} wide; begin a new sequence, or one with fewer components."
            )
        for gate in self.gates(adapter).values():
            gate.grow(config.components)
        config.tasks = [*config.tasks, name]

    def use_rows(self, task: str | None, adapter_name: str | None = None) -> None:
        """Let gates use the rows up to a task's only, or all of them (None).

        Raises:
            OptionError: the sequence has no such task.
        """
        adapter = adapter_name or str(self.active_adapters[0])
        config: DataAdapterConfig = self.peft_config[adapter]
        if task is not None and task not in config.tasks:
            raise OptionError(f"The adapter knows no task {task!r}, only {', '.join(config.tasks)}.")
        limit = None if task is None else (config.tasks.index(task) + 1) * config.components
        for gate in self.gates(adapter).values():
            gate.limit = limit

    def add_weighted_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: a sum of adapters is no adapter, as each has its own gates.

        Raises:
            OptionError: always.
        """
        raise OptionError(
            "DATA adapters cannot be combined by weights, as the gates of each depend on the input; make several act "
            "at once with `model.base_model.set_adapter([...])`."
        )

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Refuse what PEFT would otherwise ignore: an adapter of its own for each row of a batch."""
        if kwargs.get("adapter_names") is not None:
            raise OptionError(
                "adapter_names is not supported by DATA, whose adapters act on whole batches; call the model once for "
                "each adapter, after `model.set_adapter(name)`."
            )
        yield

    def _check_merge_allowed(self) -> None:
        """Refuse a merge before PEFT has unwrapped or changed anything."""
        if any(self.peft_config[name].gate != "none" for name in self.peft_config):
            raise CheckpointError(UNMERGEABLE)

    def merge_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Merge adapters with gate: none into the base weights; all others are refused."""
        self._check_merge_allowed()
        super().merge_adapter(*args, **kwargs)

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> nn.Module:
        model: nn.Module = super()._unload_and_optionally_merge(*args, **kwargs)
        for layer in decoder_layers(model).values():
            gate = getattr(layer, _GATE, None)
            if gate is None:
                continue
            delattr(layer, _GATE)
            for hooks in (layer._forward_pre_hooks, layer._forward_hooks):
                for key in [key for key, hook in hooks.items() if getattr(hook, "__self__", None) is gate]:
                    del hooks[key]
            layer._forward_pre_hooks_with_kwargs.clear()
        return model


def _width(model: nn.Module, layers: dict[str, nn.Module]) -> int:
    """Return the width of the hidden states that enter a decoder layer.

    Raises:
        OptionError: neither the model's configuration nor its first layer tells it.
    """
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    width = getattr(text, "hidden_size", None)
    if isinstance(width, int):
        return width
    for module in next(iter(layers.values())).modules():
        if isinstance(module, nn.Linear):
            return module.in_features
    raise OptionError("The model's configuration has no hidden_size, which DATA's gates need.")
