"""Responses from a vLLM server that follows the policy: before each batch it is given the newest LoRA adapter.

The server speaks the OpenAI protocol (`/v1/completions` on token ids) and must allow adapters to be loaded while it
runs: `VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve BASE --enable-lora --max-lora-rank R`. It reads the adapter
from `output_dir/rollout_adapter`, so it must share that disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from torch import distributed

from ..errors import DataError, OptionError
from .rollout import Response, Sampling

NAME = "tl_ppo"


@dataclass
class ServerRollout:
    """A source of responses.

    Attributes:
        url: address of the server, with `/v1`.
        timeout: seconds for one request.
        folder: where the adapter is written.
        policy: a PEFT model with a LoRA adapter.
        encode: token ids of a text, for servers that return text only.
        publishes: whether this process writes the adapter and tells the server.
        step: of the adapter that the server has; None before the first.
    """

    url: str
    timeout: float
    folder: Path
    policy: Any
    encode: Callable[[str], list[int]]
    publishes: bool
    step: int | None = field(default=None)

    def __call__(self, prompts: Sequence[Sequence[int]], sampling: Sampling, step: int) -> list[Response]:
        """One response per prompt, from the policy as it is at this step.

        Raises:
            OptionError: the server cannot be reached, or refuses.
            DataError: it answers something else.
        """
        with httpx.Client(timeout=self.timeout) as client:
            if step != self.step:
                if self.publishes:
                    self._publish(client, step)
                if distributed.is_initialized():
                    distributed.barrier()
                self.step = step
            found: list[Response] = []
            for start in range(0, len(prompts), sampling.rows):
                found += self._ask(client, prompts[start : start + sampling.rows], sampling, f"{NAME}_{step}")
        return found

    def _publish(self, client: httpx.Client, step: int) -> None:
        folder = self.folder / str(step % 2)  # the server may still be reading the other one
        self.policy.save_pretrained(str(folder))
        self._post(client, "load_lora_adapter", {"lora_name": f"{NAME}_{step}", "lora_path": str(folder.resolve())})
        if self.step is not None:
            self._post(client, "unload_lora_adapter", {"lora_name": f"{NAME}_{self.step}"})

    def _ask(
        self, client: httpx.Client, prompts: Sequence[Sequence[int]], sampling: Sampling, model: str
    ) -> list[Response]:
        body = {
            "model": model,
            "prompt": [list(prompt) for prompt in prompts],
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stop_token_ids": sorted(sampling.end_ids),
            "skip_special_tokens": False,
            "return_token_ids": True,
        }
        body |= {"top_k": sampling.top_k} if sampling.top_k else {}
        body |= {"stop": list(sampling.stop), "include_stop_str_in_output": True} if sampling.stop else {}
        answer = self._post(client, "completions", body).json()
        try:
            choices = sorted(answer["choices"], key=lambda choice: choice["index"])
            found = [self._response(choice, sampling) for choice in choices]
        except (KeyError, TypeError) as error:
            raise DataError(f"{self.url} answers without {error}; is it an OpenAI-compatible server?") from None
        if len(found) != len(prompts):
            raise DataError(f"{self.url} gave {len(found)} answers to {len(prompts)} prompts; check the server's log.")
        return found

    def _response(self, choice: dict[str, Any], sampling: Sampling) -> Response:
        ids = choice.get("token_ids")
        ended = choice["finish_reason"] != "length"
        if ids is None:
            ids = self.encode(choice["text"])
            if ended and not (ids and ids[-1] in sampling.end_ids) and not sampling.stop:
                ids = [*ids, min(sampling.end_ids)]
        ids = ids[: sampling.max_tokens] or [min(sampling.end_ids)]
        return Response(tuple(ids), ended)

    def _post(self, client: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
        address = f"{self.url.rstrip('/')}/{path}"
        try:
            answer = client.post(address, json=body)
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise OptionError(
                f"{address} refuses with status {error.response.status_code}: {error.response.text[:200]}. Start the "
                "server with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, on the same base model."
            ) from None
        except httpx.HTTPError as error:
            raise OptionError(
                f"{address} cannot be reached ({error or type(error).__name__}); correct tl_rollout_url, start the "
                "server, or raise tl_rollout_timeout."
            ) from None
        return answer
