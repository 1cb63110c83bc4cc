"""Sees every moment of a run at which it could die, in order, and ends the process at one of them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from transformers import TrainerCallback

from runs import phase_of

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
NOT_COUNTED = ("trainer_log.jsonl",)  # written by a thread of upstream's, at no fixed moment


@dataclass
class Probe:
    """Counts file operations in `folder` and moments of training; installs itself for the rest of the process.

    Attributes:
        folder: the output_dir of the run.
        kill_at: number of the moment at which the process gets SIGKILL; None only looks on.
        tear: cut the file that was being written in half, as a crash of the machine would.
        moments: `[stage, kind, what]` of each moment passed.
    """

    folder: Path
    kill_at: int | None = None
    tear: bool = False
    stage: str = "start"
    moments: list[tuple[str, str, str]] = field(default_factory=list)
    _unsynced: Path | None = None

    def __post_init__(self) -> None:
        sys.addaudithook(self._audit)
        self._wrap(os, "fsync", self._fsync)
        self._wrap(safetensors.torch, "serialize_file", self._serialize)
        self._wrap(torch.Tensor, "backward", self._backward)
        # Not a global hook: MOLoRA calls each linear where somebody counts on it, which rounds in another way.
        self._wrap(torch.nn.Module, "__call__", self._forward)
        register_optimizer_step_pre_hook(lambda *_: self._pass("training", "before the optimizer"))
        register_optimizer_step_post_hook(lambda *_: self._pass("training", "after the optimizer"))

    @property
    def callback(self) -> TrainerCallback:
        """Tells the probe in which phase the run is."""
        probe = self

        class Watch(TrainerCallback):
            def on_train_begin(self, args: Any, *_: Any, **__: Any) -> None:
                probe.stage = phase_of(args)

            def on_step_begin(self, args: Any, *_: Any, **__: Any) -> None:
                probe._pass("training", "begin of a step")

            def on_step_end(self, args: Any, *_: Any, **__: Any) -> None:
                probe._pass("training", "end of a step")

        return Watch()

    def _pass(self, kind: str, what: str) -> None:
        if len(self.moments) == self.kill_at:
            if self.tear and self._unsynced is not None and self._unsynced.is_file():
                os.truncate(self._unsynced, self._unsynced.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        self.moments.append((self.stage, kind, what))

    def _touch(self, kind: str, path: Path) -> None:
        if self.folder in path.parents and path.name not in NOT_COUNTED:
            self._pass(kind, path.relative_to(self.folder).as_posix())
            if path == self.folder / "phase-3-uco" / "adapter":
                self.stage = "finish"

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes | os.PathLike) and args[2] & WRITING:
            path = Path(os.fsdecode(args[0]))
            self._touch("open", path)
            self._unsynced = path if self.folder in path.parents and path.name not in NOT_COUNTED else self._unsynced
        elif event in ("os.mkdir", "os.rmdir", "os.remove"):
            self._touch(event, _path(args[0], args[-1]))
        elif event == "os.rename":
            self._touch("rename", _path(args[1], args[3]))

    @staticmethod
    def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
        inner = getattr(owner, name)
        setattr(owner, name, lambda *args, **kwargs: around(inner, *args, **kwargs))

    def _fsync(self, inner: Callable[[int], None], descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        self._touch("fsync", path)
        inner(descriptor)
        self._unsynced = None if path == self._unsynced else self._unsynced

    def _serialize(self, inner: Callable[..., None], tensors: Any, path: Any, **kwargs: Any) -> None:
        self._touch("open", Path(path))
        inner(tensors, path, **kwargs)
        self._unsynced = Path(path)
        self._touch("write", Path(path))

    def _forward(self, inner: Callable[..., Any], module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        self._pass("training", f"forward {type(module).__name__}")
        return inner(module, *args, **kwargs)

    def _backward(self, inner: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        self._pass("training", "backward")
        inner(*args, **kwargs)
        self._pass("training", "gradients")


def _path(name: Any, folder: int) -> Path:
    """Absolute, also of a name relative to an open folder, as `shutil.rmtree` uses."""
    base = Path.cwd() if folder < 0 else Path(f"/proc/self/fd/{folder}").readlink()
    return base / os.fsdecode(name)
