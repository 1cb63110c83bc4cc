"""Our templates inside LLaMA-Factory: names, options, chat, and the chat templates it writes for them."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from llamafactory.data.template import TEMPLATES as UPSTREAM
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.data.tool_utils import FunctionCall
from llamafactory.hparams import DataArguments

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.templates import TEMPLATES
from llamafactory_ext.templates.messages import RESULT_SEPARATOR
from llamafactory_ext.templates.openai import openai_messages, openai_tools
from llamafactory_ext.upstream.pipeline.templates import PromptTemplate, read_tools
from templates.dialogues import TOOLS, dialogues
from templates.tokenizers_like import KINDS, PAIRS, like

pytestmark = pytest.mark.fast


def _tool(properties: dict[str, Any], required: list[str], **more: Any) -> dict[str, Any]:
    return {"parameters": {"required": required, "type": "object", "properties": properties}, "name": "f_1", **more}


_TEXT = {"type": "string", "description": "Foo. A text,\nof two lines. é"}
SHAPES: list[list[dict[str, Any]]] = [
    [_tool({"a": _TEXT, "b": {"type": "integer", "description": "n"}}, ["b", "a"], description="Orders. Its own.")],
    [_tool({"a": _TEXT, "b": {"description": "free"}, "c": {"description": "Foo. bar"}}, ["a"])],
    [_tool({"a": {"type": "string"}, "odd name(": {"type": ["string", "null"]}}, [], description="x\n\n  y")],
    [
        _tool(
            {
                "a": {"type": "array", "items": {"type": "number"}},
                "o": {"type": "object", "properties": {"in": {"type": "boolean", "description": "Deep."}}},
            },
            ["o"],
            description="Nested.",
            strict=True,
        )
    ],
    [_tool({"e": {"type": "string", "enum": ["a", "b"], "default": None, "description": "One."}}, ["e"])],
    [_tool({"a": _TEXT}, ["a"], response={"type": "string"}), _tool({}, [], output_parameters={"x": {"type": "str"}})],
    [_tool({"a": _TEXT}, ["a"], description="Says.", Output="Success.")],
    [{"name": "bare"}, {"name": "half", "description": "", "parameters": {"type": "object"}}],
]


def prepared(name: str, kind: str, **options: Any) -> tuple[PromptTemplate, Any]:
    tokenizer = like(kind)
    return get_template_and_fix_tokenizer(tokenizer, DataArguments(template=name, **options)), tokenizer  # type: ignore[return-value]


def test_every_template_is_registered_and_tested() -> None:
    ours = {name for name, template in UPSTREAM.items() if isinstance(template, PromptTemplate)}
    assert ours == set(TEMPLATES) == set(KINDS)
    assert UPSTREAM["llama3"].__class__.__name__ == "Template"


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_no_token_is_added(name: str, kind: str) -> None:
    """The models' tokenizers know every token of their templates; a new one would lie beyond the embeddings."""
    size = len(like(kind))
    template, tokenizer = prepared(name, kind)
    assert len(tokenizer) == size
    assert None not in template.get_stop_token_ids(tokenizer)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_written_chat_template_agrees(name: str, kind: str) -> None:
    """Upstream writes a chat template into an exported model whose tokenizer has none."""
    template, tokenizer = prepared(name, kind)
    chat = template.prompts.chat
    assert tokenizer.chat_template is not None
    for dialogue in dialogues(60, seed=2, parallel=False):
        messages = []
        for message in dialogue.messages:
            role = {"function": "assistant", "observation": "tool"}.get(message.role, message.role)
            messages.append({"role": role, "content": template.prompts.reply(message)})
        if dialogue.system:
            messages.insert(0, {"role": "system", "content": dialogue.system})
        pairs = template.encode_multiturn(tokenizer, dialogue.as_dicts, dialogue.system, "")
        ours = [token for pair in pairs for part in pair for token in part]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        after = chat.reply.after
        assert text.endswith(after)
        assert tokenizer(text.removesuffix(after), add_special_tokens=False)["input_ids"] == ours
        prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        asked = ours[: len(ours) - len(pairs[-1][1])]
        assert tokenizer(prompt, add_special_tokens=False)["input_ids"] == asked


def test_written_chat_template_takes_several_results() -> None:
    template, tokenizer = prepared("tl_qwen25", "qwen")
    content = RESULT_SEPARATOR.join(("sun", "rain"))
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "x"}]
    text = tokenizer.apply_chat_template([*messages, {"role": "tool", "content": content}], tokenize=False)
    assert text.endswith(template.prompts.chat.observation.around(content))  # type: ignore[union-attr]


def test_written_chat_template_refuses_unknown_roles() -> None:
    _, tokenizer = prepared("mistral_v02_api_bank", "mistral")
    with pytest.raises(Exception, match="Unknown role: narrator"):
        tokenizer.apply_chat_template([{"role": "narrator", "content": "Hi"}], tokenize=False)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_written_chat_template_takes_tools_and_calls(name: str, kind: str) -> None:
    """As `Template.render` writes them, with thoughts, several calls and several results."""
    template, tokenizer = prepared(name, kind)
    after = template.prompts.chat.reply.after
    for dialogue in dialogues(30, seed=5):
        pairs = template.encode_multiturn(tokenizer, dialogue.as_dicts, dialogue.system, dialogue.tools)
        trained = [token for pair in pairs for part in pair for token in part]
        messages = openai_messages(dialogue.as_dicts, dialogue.system)
        text = tokenizer.apply_chat_template(messages, tools=openai_tools(dialogue.tools) or None, tokenize=False)
        assert tokenizer(text.removesuffix(after), add_special_tokens=False)["input_ids"] == trained


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_written_chat_template_presents_tools_of_every_shape(name: str, kind: str) -> None:
    template, tokenizer = prepared(name, kind)
    seen = 0
    for tools in SHAPES:
        try:
            pairs = template.encode_multiturn(tokenizer, dialogues(1)[0].as_dicts[:2], "", json.dumps(tools))
        except DataError:  # a format that cannot hold it; nothing of the kind is trained
            continue
        asked = openai_messages(dialogues(1)[0].as_dicts[:1])
        given = {"tools": openai_tools(json.dumps(tools)), "add_generation_prompt": True, "tokenize": False}
        text = tokenizer.apply_chat_template(asked, **given)
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == pairs[0][0]
        seen += 1
    assert seen >= 3


RESULTS = (
    *('{"a":1,"b":[true,null,{"c":"x, y: z"}]}', ' { "a" : "q\\"u\\\\" }\n', "{}", "[ ]", '[1,-2.5,"é"]'),
    *(
        '{"a":"\\u00e9\\n\\ud83d\\ude00\\/\\u0022"}',
        "[Errno 2] No such file",
        "{error}",
        "[info] [done]",
        "",
        "3.50",
        "x",
    ),
    '{"text": "tab\\t", "deep": [[], {}]}',
)


@pytest.mark.parametrize("name", [name for name, one in TEMPLATES.items() if one.chat.json_observations])
@pytest.mark.parametrize("result", RESULTS)
def test_written_chat_template_writes_results_that_are_json(name: str, result: str) -> None:
    template, tokenizer = prepared(name, "llama3")
    turns = [{"role": "user", "content": "Hi"}, {"role": "function", "content": '{"name": "f", "arguments": {}}'}]
    turns += [{"role": "observation", "content": result}, {"role": "assistant", "content": "Done."}]
    pairs = template.encode_multiturn(tokenizer, turns)
    text = tokenizer.apply_chat_template(openai_messages(turns), tokenize=False)
    trained = [token for pair in pairs for part in pair for token in part]
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == trained


def test_default_system_option() -> None:
    template, tokenizer = prepared("tl_qwen2", "qwen", default_system="Be terse.")
    try:
        pairs = template.encode_multiturn(tokenizer, dialogues(1)[0].as_dicts)
        assert tokenizer.decode(pairs[0][0]).startswith("<|im_start|>system\nBe terse.<|im_end|>\n")
        text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
        assert text.startswith("<|im_start|>system\nBe terse.<|im_end|>\n")
    finally:
        template.default_system = template.prompts.chat.default_system  # upstream's templates are shared objects


def test_tool_format_option_is_refused() -> None:
    own = UPSTREAM["llama3_api_bank"].format_tools, UPSTREAM["llama3_api_bank"].format_function
    try:
        template, tokenizer = prepared("llama3_api_bank", "llama3", tool_format="glm4")
        with pytest.raises(OptionError, match="tool_format: glm4 does not work with template: llama3_api_bank"):
            template.encode_multiturn(tokenizer, dialogues(1)[0].as_dicts)
    finally:
        UPSTREAM["llama3_api_bank"].format_tools, UPSTREAM["llama3_api_bank"].format_function = own


def test_calls_of_a_reply() -> None:
    template = UPSTREAM["mistral_v02_api_bank"]
    found = template.extract_tool("I see.\nAPI-Request: [f(x='a'), g(n=2)]")
    assert found == [FunctionCall("f", '{"x": "a"}'), FunctionCall("g", '{"n": 2}')]
    assert template.extract_tool("It is [sunny](today).") == "It is [sunny](today)."


def test_tools_of_a_record() -> None:
    bare = read_tools(json.dumps(TOOLS))
    assert [tool.name for tool in bare] == ["GetWeather", "random_advice"]
    assert read_tools(json.dumps([{"type": "function", "function": tool} for tool in TOOLS])) == bare
    assert read_tools(json.dumps(TOOLS[0])) == bare[:1]
    assert read_tools(" ") == read_tools(None) == read_tools("[]") == []
    for text in ("{", "3", '[{"description": "x"}]', '[{"name": "f", "parameters": [1]}]'):
        with pytest.raises(DataError, match="tools of an example cannot be read"):
            read_tools(text)


def test_slow_tokenizers_are_refused() -> None:
    template, _ = prepared("phi3_api_bank", "phi3")

    class Slow:
        is_fast = False
        bos_token = eos_token = ""

    with pytest.raises(OptionError, match="use_fast_tokenizer: true"):
        template.encode_multiturn(Slow(), dialogues(1)[0].as_dicts)


def test_templates_travel_to_preprocessing_workers() -> None:
    for name in TEMPLATES:
        again = pickle.loads(pickle.dumps(UPSTREAM[name]))
        assert again.prompts == TEMPLATES[name]
        assert len(again.source) == 16


def test_ollama_model_file() -> None:
    template, tokenizer = prepared("llama3_api_bank", "llama3")
    text = template.get_ollama_modelfile(tokenizer)
    assert "<|start_header_id|>user<|end_header_id|>\n\n{{ .Content }}<|eot_id|>" in text
    assert 'PARAMETER stop "<|eot_id|>"' in text
