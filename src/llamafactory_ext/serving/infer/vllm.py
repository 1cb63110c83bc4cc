"""Answers by vLLM: any model it serves, exported ones among them, over several GPUs by its own means.

The asynchronous engine hands over each answer when it is finished; `data_parallel` copies of the model share the
questions by vLLM's own load balancing, `tensor_parallel` GPUs share one copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from ...checkpoint.weight_files import WEIGHTS, weight_problems, weights_fault
from ...errors import CheckpointError, DataError, OptionError
from .hf import load_tokenizer
from .identity import adapter_base, files_hash, model_folder
from .options import InferOptions
from .prompts import Prompt, TextPrompts, template_for_tokens

_WINDOW = 256  # requests in the engine for each copy of the model: it batches them itself


def _damage(folder: Path) -> Iterator[str]:
    """Yield what vLLM would meet in its workers: files that are missing or damaged, whatever their names."""
    advice = "get the model again"
    if any((folder / name).is_file() for name in WEIGHTS):
        yield from weight_problems(folder, advice)
    for file in sorted(folder.glob("*.safetensors")):
        if fault := weights_fault(file):
            yield f"{file} {fault}; {advice}"


class VllmBackend:
    """One engine and its worker processes.

    Args:
        options: of the run.

    Raises:
        OptionError: no such folder or template.
        CheckpointError: an adapter, or a model that vLLM cannot load.
    """

    def __init__(self, options: InferOptions) -> None:
        template = template_for_tokens(options.template)
        self._folder, self._options = model_folder(options.model), options
        if adapter_base(self._folder) is not None:
            raise CheckpointError(
                f"{self._folder} holds an adapter; write a whole model for vLLM with `llamafactory-cli export`, or "
                "use --backend hf."
            )
        for problem in _damage(self._folder):
            raise CheckpointError(f"{problem}.")
        self._loop = asyncio.new_event_loop()
        self._engine = self._loop.run_until_complete(self._start())
        config = self._engine.model_config
        self._context = int(config.max_model_len)
        ends = (config.try_get_generation_config() or {}).get("eos_token_id")
        ids = ends if isinstance(ends, list) else [ends]
        tokenizer = load_tokenizer(self._folder)
        self._texts = TextPrompts(
            tokenizer, template, str(self._folder), [token for token in ids if token is not None]
        )

    def identity(self) -> dict[str, Any]:
        """Return what of the model answers depend on."""
        dtype = str(self._engine.model_config.dtype).removeprefix("torch.")
        return {"model_files": files_hash(self._folder), "dtype": dtype, "max_model_len": self._context}

    def prompt(self, question: Any) -> Prompt:
        """See `TextPrompts.prompt`."""
        return self._texts.prompt(question)

    def answers(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Prompt, str | None]]:
        """Return each prompt with its answer, in the order in which they finish.

        None where there is no room for one.
        """
        waiting = iter(prompts)
        running: dict[asyncio.Task[str | None], Prompt] = {}
        room = _WINDOW * self._options.data_parallel
        try:
            while True:
                while len(running) < room and (prompt := next(waiting, None)) is not None:
                    running[self._loop.create_task(self._answer(prompt))] = prompt
                if not running:
                    return
                done, _ = self._loop.run_until_complete(asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))
                yield from self._finished(done, running)
        finally:
            for task in running:
                task.cancel()

    def close(self) -> None:
        """End the engine and its processes."""
        self._engine.shutdown()
        del self._engine  # now: its own end at the interpreter's finds half of vLLM gone
        self._loop.run_until_complete(asyncio.sleep(0))  # cancelled tasks end
        self._loop.close()

    def _finished(
        self, done: set[asyncio.Task[str | None]], running: dict[asyncio.Task[str | None], Prompt]
    ) -> Iterator[tuple[Prompt, str | None]]:
        failed = None
        for task in done:
            prompt = running.pop(task)
            if (error := task.exception()) is not None:
                failed = failed or (prompt, error)
            else:
                yield prompt, task.result()
        if failed is not None:
            raise DataError(f"{failed[0].question.id}: vLLM gave no answer ({failed[1]}).") from None

    async def _start(self) -> AsyncLLM:
        options = self._options
        arguments: dict[str, Any] = {"max_model_len": options.max_model_len} if options.max_model_len else {}
        if options.data_parallel > 1:
            arguments["data_parallel_size"] = options.data_parallel
        try:
            return AsyncLLM.from_engine_args(
                AsyncEngineArgs(
                    model=str(self._folder),
                    dtype=options.dtype,
                    seed=options.seed,
                    tensor_parallel_size=options.tensor_parallel,
                    disable_log_stats=True,
                    **arguments,
                )
            )
        except (ValueError, RuntimeError, OSError) as error:
            text = " ".join(str(error).split())[:400]
            raise OptionError(f"vLLM cannot serve {self._folder}: {text}. Its own log above says more") from None

    async def _answer(self, prompt: Prompt) -> str | None:
        ids = self._texts.encode(prompt)
        if len(ids) >= self._context:
            return None
        options = self._options
        sampling = SamplingParams(
            temperature=options.temperature,
            top_p=options.top_p if options.temperature else 1.0,
            seed=options.seed if options.temperature else None,
            max_tokens=min(options.max_new_tokens, self._context - len(ids)),
            stop_token_ids=list(self._texts.stop_ids),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        new: Sequence[int] = ()
        async for output in self._engine.generate({"prompt_token_ids": ids}, sampling, prompt.question.id):
            new = output.outputs[0].token_ids
        return self._texts.decode(new)
