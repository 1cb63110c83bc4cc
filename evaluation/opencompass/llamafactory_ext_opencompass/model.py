"""A served model for OpenCompass that works offline and does not stop at an empty reply."""

from __future__ import annotations

from typing import Any

from opencompass.models import OpenAISDK

_CHARACTERS_PER_TOKEN = 3  # fewer than of English text: prompts count as longer than they are


class ServedModel(OpenAISDK):
    """OpenAISDK for `vllm serve` and its like.

    OpenAISDK loads a tokenizer from the network to measure prompts, and gives a whole data set up when one reply is
    empty because it ran into its length limit. Here lengths are estimated, and an empty reply is an empty answer.
    """

    def _init_tokenizer(self) -> None:
        """None: it would come from the network, or run a model folder's own code."""

    def get_token_len(self, prompt: str) -> int:
        """An estimate; the server knows for sure and refuses what is too long."""
        return len(prompt) // _CHARACTERS_PER_TOKEN + 1

    def _create_fresh_client(self) -> Any:
        client = super()._create_fresh_client()
        create = client.chat.completions.create

        def create_and_keep_empty(**request: Any) -> Any:
            response = create(**request)
            for choice in response.choices or ():
                if not choice.message.content:
                    choice.finish_reason = "stop"
            return response

        client.chat.completions.create = create_and_keep_empty
        return client
