"""A server: the plugin loads by itself in all processes of vLLM, and the export's chat template is used."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer

from serving_vllm.exports import export, prompts, reference
from serving_vllm.servers import START, ask, serve, wait_until_ready


def test_a_served_model_answers_as_transformers_does(tmp_path: Path) -> None:
    folder = export(tmp_path / "out")
    process, url = serve(folder, tmp_path / "log", "--max-model-len", "128")
    try:
        wait_until_ready(url, process, tmp_path / "log")
        body = {"model": "citi", "temperature": 0, "max_tokens": 8, "ignore_eos": True, "return_token_ids": True}
        choice = ask(f"{url}/v1/completions", body | {"prompt": prompts()[2]})["choices"][0]
        tokens, _ = reference(folder, prompts()[2], choice["token_ids"])
        assert tokens == choice["token_ids"]
        messages = [{"role": "user", "content": "What is 12 plus 30?"}]
        reply = ask(f"{url}/v1/chat/completions", body | {"messages": messages})
        tokenizer = AutoTokenizer.from_pretrained(folder)
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert reply["prompt_token_ids"] == list(prompt)
        assert reference(folder, list(prompt), reply["choices"][0]["token_ids"])[0] == reply["choices"][0]["token_ids"]
    finally:
        process.terminate()
        process.wait(120)


def test_a_refused_option_ends_in_one_message(tmp_path: Path) -> None:
    process, _ = serve(export(tmp_path / "out"), tmp_path / "log", "--quantization", "fp8")
    try:
        assert process.wait(START) != 0
    finally:
        process.kill()
    printed = (tmp_path / "log").read_text()
    assert "OptionError: vLLM cannot run this citi_llama model:" in printed
    assert "leave --quantization out" in printed
    assert "Traceback" not in printed
