"""Responses from a vLLM server that follows the policy: before each batch it is given the newest LoRA adapter.

The server speaks the OpenAI protocol (`/v1/completions` on token ids) and must allow adapters to be loaded while it
runs: `VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve BASE --enable-lora --max-lora-rank R`. It reads the adapter
from `output_dir/rollout_adapter`, so it must share that disk. Tested with vLLM 0.32.0.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import torch
from torch import Tensor, distributed

from ....errors import DataError, OptionError
from ....foreign import Answer, ForeignError, exchange, new_client, shown, shown_url
from ..critic import chosen_logp
from .local import Response, Sampling

NAME = "tl_ppo"
_MOST_IDS = 1 << 31
_MOST_STOPS = 4  # texts that end a response, which a server of vLLM takes by itself
FAR = 0.3  # nats per token; 16-bit numbers on one side make a few hundredths
COMPARED = 8  # responses of the first step: a single one may be nearly certain under both models


@dataclass(frozen=True)
class _Answer:
    """A response and, if the server tells them with its tokens, their log-probabilities."""

    response: Response
    logp: tuple[float, ...] | None


@dataclass
class ServerRollout:
    """A source of responses.

    Attributes:
        url: address of the server, with `/v1`.
        timeout: seconds for one request.
        folder: where the adapter is written.
        policy: a PEFT model with a LoRA adapter.
        publishes: whether this process writes the adapter and tells the server.
        step: of the adapter that the server has; None before the first.
        name: of that adapter. Never used twice: a server that outlives a run refuses names it knows, and keeps keys
            and values of prompts under them.
    """

    url: str
    timeout: float
    folder: Path
    policy: Any
    publishes: bool
    step: int | None = field(default=None)
    name: str = field(default="")

    def __call__(self, prompts: Sequence[Sequence[int]], sampling: Sampling, step: int) -> list[Response]:
        """Return one response per prompt, from the policy as it is at this step.

        Raises:
            OptionError: the server cannot be reached, or refuses, or does not run this policy.
            DataError: it answers something else.
        """
        found: list[Response] = []
        with new_client(self.timeout) as client:
            new, first = step != self.step, self.step is None
            if new:
                self._renew(client, step)
            for start in range(0, len(prompts), sampling.rows):
                part = prompts[start : start + sampling.rows]
                answers = self._ask(client, part, sampling)
                if new and start == 0:
                    count = COMPARED if first else 1
                    self._compare(part[:count], answers[:count], sampling.temperature)
                found += [answer.response for answer in answers]
        return found

    def _renew(self, client: httpx.Client, step: int) -> None:
        """Give the server the adapter as it is now; all processes learn its name."""
        names = [f"{NAME}_{step}_{secrets.token_hex(4)}"]
        if self.publishes:
            folder = self.folder / str(step % 2)  # the server may still be reading the other one
            self.policy.save_pretrained(str(folder))
            self._post(client, "load_lora_adapter", {"lora_name": names[0], "lora_path": str(folder.resolve())})
            if self.name:
                self._post(client, "unload_lora_adapter", {"lora_name": self.name}, may_lack=True)
        if distributed.is_initialized():
            distributed.broadcast_object_list(names, src=0)
        self.step, self.name = step, names[0]

    def _ask(self, client: httpx.Client, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[_Answer]:
        """Return the server's answers in the order of the prompts."""
        body = {
            "model": self.name,
            "prompt": [list(prompt) for prompt in prompts],
            "max_tokens": sampling.max_tokens,
            "stop_token_ids": sorted(sampling.end_ids),
            "ignore_eos": True,  # the model's own end tokens count if they are among these
            "skip_special_tokens": False,
            "return_token_ids": True,
            "logprobs": 0,  # of the drawn tokens alone
            # All of them: what is left out comes from the model's generation_config.json.
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        }
        body |= {"stop": list(sampling.stop), "include_stop_str_in_output": True} if sampling.stop else {}
        reply = self._post(client, "completions", body)
        try:
            choices = sorted(reply.json()["choices"], key=lambda choice: choice["index"])
            found = [self._read(choice, sampling) for choice in choices]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{shown_url(self.url)} answers otherwise ({shown(repr(error))}); is it an OpenAI-compatible server?"
            ) from None
        if len(found) != len(prompts):
            raise DataError(
                f"{shown_url(self.url)} gave {len(found)} answers to {len(prompts)} prompts; check the server's log."
            )
        for prompt, answer in zip(prompts, found, strict=True):
            self._require_room(len(prompt), answer, sampling.max_tokens)
        return found

    def _require_room(self, prompt: int, answer: _Answer, limit: int) -> None:
        """Refuse a server that shortens what does not fit into its context, as vLLM does without a word."""
        got = len(answer.response.ids)
        if answer.logp is not None and not answer.response.ended and got < limit:
            raise OptionError(
                f"{shown_url(self.url)} cuts a response at {got} tokens, after a prompt of {prompt}; start the "
                f"server with --max-model-len of at least {prompt + limit}, or lower tl_max_new_tokens or cutoff_len."
            )

    def _compare(self, prompts: Sequence[Sequence[int]], answers: Sequence[_Answer], temperature: float) -> None:
        """Refuse a server whose log-probabilities of the responses are not the policy's."""
        # A server may be set to return those of the distribution that it draws from.
        scales = (1.0, temperature or 1.0)
        gaps: list[list[Tensor]] = [[], []]
        for prompt, answer in zip(prompts, answers, strict=True):
            if not answer.logp:
                continue
            device = next(self.policy.parameters()).device
            theirs_R = torch.tensor(answer.logp, device=device)
            ids_1T = torch.tensor([[*prompt, *answer.response.ids]], device=device)
            with torch.no_grad():
                logits_1RV = self.policy(input_ids=ids_1T, use_cache=False).logits[:, len(prompt) - 1 : -1]
            for found, scale in zip(gaps, scales, strict=True):
                found.append((chosen_logp(logits_1RV, ids_1T[:, len(prompt) :], scale)[0] - theirs_R).abs())
        if not gaps[0]:
            return
        gap = min(torch.cat(found).mean().item() for found in gaps)
        if not gap <= FAR:
            raise OptionError(
                f"{shown_url(self.url)} does not run the policy in training: its log-probabilities differ by "
                f"{gap:.2g} nats per token. Serve the model that the new adapter was put on, unquantised: "
                "model_name_or_path, with the adapters of adapter_name_or_path merged if create_new_adapter is set."
            )

    def _read(self, choice: dict[str, Any], sampling: Sampling) -> _Answer:
        ids, logprobs = choice.get("token_ids"), choice.get("logprobs")
        if ids is None:
            raise OptionError(
                f"{shown_url(self.url)} returns texts without token ids, which would be encoded anew and may be other "
                "tokens than were drawn; serve with vLLM 0.11 or newer, or set tl_rollout: hf."
            )
        if not (isinstance(ids, list) and all(type(i) is int and 0 <= i < _MOST_IDS for i in ids)):
            raise TypeError("token_ids are no list of token ids")
        logp = tuple(float(one) for one in logprobs["token_logprobs"]) if ids and logprobs else None
        if logp is not None and len(logp) != len(ids or ()):
            raise ValueError("as many log-probabilities as tokens are due")
        ended = choice["finish_reason"] != "length"
        ids = ids[: sampling.max_tokens] or [min(sampling.end_ids)]
        return _Answer(Response(tuple(ids), ended, engine_logp=(logp or ())[: len(ids)]), logp)

    def _post(self, client: httpx.Client, path: str, body: dict[str, Any], *, may_lack: bool = False) -> Answer:
        address = f"{self.url.rstrip('/')}/{path}"
        place = shown_url(address)
        try:
            answer = exchange(client, "POST", address, body=body, seconds=self.timeout)
        except (httpx.HTTPError, httpx.InvalidURL, ForeignError) as error:
            raise OptionError(
                f"{place} cannot be reached ({shown(str(error)) or type(error).__name__}); correct tl_rollout_url, "
                "start the server, or raise tl_rollout_timeout."
            ) from None
        lacks = may_lack and answer.status_code == httpx.codes.NOT_FOUND  # the server was started anew
        if not (200 <= answer.status_code < 300 or lacks):
            stops = len(body.get("stop", ()))
            room = f", VLLM_MAX_STOP_STRINGS={stops} for the texts of tl_stop" if stops > _MOST_STOPS else ""
            raise OptionError(
                f"{place} refuses with status {answer.status_code}: {shown(answer.text, 200)}. Start the server with "
                f"--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True{room}, on the same base model."
            )
        return answer
