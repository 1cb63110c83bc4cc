"""Hand-written texts of model families, after their chat templates; and what must be refused."""

from __future__ import annotations

from typing import Any

Expected = list[tuple[str, dict[str, Any]]]

_DS, _DE = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_KIMI = "<|tool_calls_section_begin|>"

READ: list[tuple[str, str, Expected]] = [
    ("glm4_moe", "<tool_call>f\n<arg_key>n</arg_key>\n<arg_value>3</arg_value>\n</tool_call>", [("f", {"n": 3})]),
    (  # GLM-4.7
        "glm4_moe",
        "So.<tool_call>f<arg_key>a</arg_key><arg_value>x y</arg_value><arg_key>b</arg_key><arg_value>[1]</arg_value>"
        "</tool_call><tool_call>g</tool_call>",
        [("f", {"a": "x y", "b": [1]}), ("g", {})],
    ),
    (  # LLaMA-Factory leaves the closing tag out
        "glm4_moe",
        "\n<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>it</arg_value>\n\n<tool_call>g<|observation|>",
        [("f", {"a": "it"}), ("g", {})],
    ),
    (
        "glm4_moe",
        "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x </arg_value> y</arg_value>\n</tool_call>",
        [("f", {"a": "x </arg_value> y"})],
    ),
    (
        "qwen3_coder",
        "I look.\n<tool_call>\n<function=f>\n<parameter=code>\nif a:\n    b\n\n</parameter>\n<parameter=on>\ntrue\n"
        "</parameter>\n</function>\n</tool_call><|im_end|>",
        [("f", {"code": "if a:\n    b\n", "on": True})],
    ),
    ("qwen3_coder", "<function=f>\n<parameter=x>\nv\n</parameter>\n</function>\n</tool_call>", [("f", {"x": "v"})]),
    ("qwen3_coder", "<tool_call>\n<function=f>\n</function>\n</tool_call>", [("f", {})]),
    ("qwen3_coder", "<tool_call>\n<function=f>\n<parameter=x>\nv\n</parameter>\n</function>\n", [("f", {"x": "v"})]),
    (
        "qwen3_coder",
        "<tool_call>\n<function=f>\n<parameter=x>\n1\n</parameter>\n</function>\n<function=g>\n</function>\n</tool_call>",
        [("f", {"x": 1}), ("g", {})],
    ),
    (
        "qwen3_coder",
        "<tool_call><function=f><parameter=x>a </parameter> b <function=g></parameter></function></tool_call>",
        [("f", {"x": "a </parameter> b <function=g>"})],
    ),
    (
        "seed_oss",
        '<seed:tool_call>\n<function=f>\n<parameter=x>\nv</parameter>\n<parameter=o>{"a": null}</parameter>\n'
        "</function>\n</seed:tool_call><seed:eos>",
        [("f", {"x": "\nv", "o": {"a": None}})],
    ),
    ("seed_oss", "<seed:tool_call>\n<function=f>\n</function>", [("f", {})]),
    (  # LLaMA-Factory leaves a bracket out
        "seed_oss",
        "<seed:tool_call>\n<function=f\n<parameter=x>v</parameter>\n</function>\n</seed:tool_call>",
        [("f", {"x": "v"})],
    ),
    (
        "minimax1",
        '<tool_calls>\n{"name": "f", "arguments": {"t": "</tool_calls>"}}\n{"name": "g", "arguments": {}}\n'
        "</tool_calls>",
        [("f", {"t": "</tool_calls>"}), ("g", {})],
    ),
    ("minimax1", '<tool_calls>[{"name": "f", "arguments": {}}]', [("f", {})]),
    (
        "minimax2",
        '<minimax:tool_call>\n<invoke name="f">\n<parameter name="x">1.5</parameter>\n</invoke>\n<invoke name="g">\n'
        "</invoke>\n</minimax:tool_call>[e~[",
        [("f", {"x": 1.5}), ("g", {})],
    ),
    ("minimax2", '<invoke name="f">\n<parameter name="x">a</parameter>\n</invoke>', [("f", {"x": "a"})]),
    (
        "harmony",
        '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>',
        [("f", {"a": 1})],
    ),
    ("harmony", '<|channel|>commentary to=functions.f<|message|>{"a": 1}', [("f", {"a": 1})]),
    (
        "harmony",
        "<|channel|>analysis<|message|>Think.<|end|><|start|>assistant to=functions.f<|channel|>commentary "
        '<|constrain|>json<|message|>{"t": "<|call|>"}<|call|>',
        [("f", {"t": "<|call|>"})],
    ),
    ("harmony", " to=functions.f<|channel|>commentary json<|message|>{}<|call|>", [("f", {})]),
    (
        "harmony",
        "<|channel|>commentary to=functions.a.b<|message|><|call|><|start|>assistant<|channel|>commentary "
        "to=functions.g<|message|>{}<|call|>",
        [("a.b", {}), ("g", {})],
    ),
    ("mistral_v11", '[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{}</s>', [("f", {"a": 1}), ("g", {})]),
    ("mistral_v11", '[TOOL_CALLS]f[CALL_ID]a1B2c3D4e[ARGS]{"a": "[ARGS]"}', [("f", {"a": "[ARGS]"})]),
    ("mistral_v11", '[TOOL_CALLS]f{"a": "[TOOL_CALLS]"}', [("f", {"a": "[TOOL_CALLS]"})]),
    (
        "deepseek_v3",
        f"{_DS}<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
        '{"a": "```"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```'
        f"<｜tool▁call▁end｜>{_DE}<｜end▁of▁sentence｜>",
        [("f", {"a": "```"}), ("g", {})],
    ),
    (
        "deepseek_v31",
        f'{_DS}<｜tool▁call▁begin｜>f<｜tool▁sep｜>{{"a": 1}}<｜tool▁call▁end｜><｜tool▁call▁begin｜>function'
        f"<｜tool▁sep｜>{{}}<｜tool▁call▁end｜>{_DE}",
        [("f", {"a": 1}), ("function", {})],
    ),
    ("deepseek_v31", '<｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a": 1}', [("f", {"a": 1})]),
    (
        "deepseek_v32",
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="f">\n<｜DSML｜parameter name="x" string="true">3'
        '</｜DSML｜parameter>\n<｜DSML｜parameter name="y" string="false">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
        '<｜DSML｜invoke name="g">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
        [("f", {"x": "3", "y": 3}), ("g", {})],
    ),
    (
        "deepseek_v32",
        '<｜DSML｜tool_calls><｜DSML｜invoke name="f"><｜DSML｜parameter name="x">[1]</｜DSML｜parameter>'
        "</｜DSML｜invoke></｜DSML｜tool_calls>",
        [("f", {"x": [1]})],
    ),
    (
        "kimi_k2",
        f'{_KIMI}<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{{"a": 1}}<|tool_call_end|>'
        "<|tool_call_begin|>functions.a.b:12<|tool_call_argument_begin|>{}<|tool_call_end|>"
        "<|tool_calls_section_end|><|im_end|>",
        [("f", {"a": 1}), ("a.b", {})],
    ),
    ("kimi_k2", "<|tool_call_begin|>f<|tool_call_argument_begin|>{}", [("f", {})]),
    (
        "gemma4",
        '<|tool_call>call:f{a:<|"|>x, y}<|"|>,b:[1,-2.5e3,true],c:{d:null,<|"|>e:<|"|>:<|"|><|"|>}}<tool_call|>',
        [("f", {"a": "x, y}", "b": [1, -2500.0, True], "c": {"d": None, "e:": ""}})],
    ),
    ("gemma4", "<|tool_call>call:f{}<tool_call|><|tool_call>call:g{}", [("f", {}), ("g", {})]),
    ("llama31_function", '<function=f>{"a": "</function>"}</function><eom>', [("f", {"a": "</function>"})]),
    ("llama31_function", "<function=f></function><function=g>{}", [("f", {}), ("g", {})]),
    (
        "tool_calls",
        '{"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": '
        '{"name": "f", "arguments": "{\\"a\\": 1}"}}, {"name": "g", "arguments": {}}]}',
        [("f", {"a": 1}), ("g", {})],
    ),
    ("tool_calls", '[{"tool_calls": [{"name": "f", "arguments": {}}]}]', [("f", {})]),
    ("tool_calls", '[{"role": "user"}, {"tool_calls": [{"name": "f", "arguments": {}}]}]', [("f", {})]),
    ("tool_calls", '{"content": "{x} \\"{\\"", "tool_calls": [{"name": "f", "arguments": {}}]}', [("f", {})]),
    ("tool_use", '[{"type": "text", "text": "So"}, {"type": "tool_use", "name": "f", "input": {}}]', [("f", {})]),
    ("function_call", '{"function_call": {"name": "f", "arguments": "{\\"a\\": \\"b\\"}"}}', [("f", {"a": "b"})]),
    ("tool_use", '{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}', [("f", {"a": 1})]),
    (
        "tool_use",
        '{"role": "assistant", "content": [{"type": "text", "text": "So"}, {"id": "1", "type": "tool_use", '
        '"name": "f", "input": {}}, {"type": "tool_use", "name": "g", "input": null}]}',
        [("f", {}), ("g", {})],
    ),
    ("xlam", '[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]', [("f", {"a": 1}), ("g", {})]),
    ("xlam", '{"thought": "t", "tool_calls": [{"name": "f", "arguments": {"a": 1}}]}', [("f", {"a": 1})]),
    (
        "command_r",
        'Action: ```json\n[\n    {\n        "tool_name": "f",\n        "parameters": {"a": "```"}\n    }\n]```',
        [("f", {"a": "```"})],
    ),
    (
        "command_r",
        '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "f", "parameters": {"a": 1}},\n    '
        '{"tool_call_id": "1", "tool_name": "g", "parameters": {}}\n]<|END_ACTION|>',
        [("f", {"a": 1}), ("g", {})],
    ),
    ("granite", '<|tool_call|>[{"arguments": {"a": 1}, "name": "f"}]', [("f", {"a": 1})]),
    ("granite", '<tool_call>[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]', [("f", {}), ("g", {})]),
    ("phi4", 'functools[{"name": "f", "arguments": {"a": 1}}]', [("f", {"a": 1})]),
    ("phi4", '<|tool_call|>[{"name": "f", "arguments": {}}]<|/tool_call|>', [("f", {})]),
    (
        "internlm2",
        'I look.<|action_start|><|plugin|>\n{"name": "f", "parameters": {"a": 1}}<|action_end|>\n',
        [("f", {"a": 1})],
    ),
    (
        "lfm2",
        "<|tool_call_start|>[f(x='y', n=[1, None]), g()]<|tool_call_end|>",
        [("f", {"x": "y", "n": [1, None]}), ("g", {})],
    ),
    ("lfm2", '<|tool_call_start|>[f(x="a \\"b\\" \\n")]<|tool_call_end|>', [("f", {"x": 'a "b" \n'})]),
    (  # LLaMA-Factory writes texts without escapes
        "lfm2",
        '<|tool_call_start|>[f(x="say "hi", then\nbye", o={"a": true}), g(y="")]<|tool_call_end|>',
        [("f", {"x": 'say "hi", then\nbye', "o": {"a": True}}), ("g", {"y": ""})],
    ),
    ("lfm2", '<|tool_call_start|>[f(x="C:\\new\n")]<|tool_call_end|>', [("f", {"x": "C:\\new\n"})]),
    (
        "lfm2",
        '<|tool_call_start|>[f(x="1", **{"a-b": "2"}), g(y="3")]<|tool_call_end|>',
        [("f", {"x": "1", "a-b": "2"}), ("g", {"y": "3"})],
    ),
    (
        "lfm2",
        '<|tool_call_start|>[f(**{"a-b": "2"}, x="1"), g(y="3", **{"c d": "e\\"f", "n": None})]<|tool_call_end|>',
        [("f", {"x": "1", "a-b": "2"}), ("g", {"y": "3", "c d": 'e"f', "n": None})],
    ),
    (  # as records of LLaMA-Factory hold calls behind words
        "lfm2",
        'I look.\n<|tool_call_start|>{"name": "f", "arguments": {"x": "y("}}<|tool_call_end|>',
        [("f", {"x": "y("})],
    ),
    (
        "lfm2",
        '<|tool_call_start|> [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]<|tool_call_end|>',
        [("f", {"a": 1}), ("g", {})],
    ),
    ("ling", '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>', [("f", {"a": 1})]),
    ("pythonic", '<|python_start|>[f(x="a"), g(y=[1])]<|python_end|><|eot|>', [("f", {"x": "a"}), ("g", {"y": [1]})]),
    ("pythonic", '<|python_start|>f(x="<|python_end|>")', [("f", {"x": "<|python_end|>"})]),
    ("tool_code", "```tool_code\nf(x='a')\nprint(g(y=1))\n```", [("f", {"x": "a"}), ("g", {"y": 1})]),
    ("tool_code", "```tool_code\n[f(x='```'), g()]\n```<end_of_turn>", [("f", {"x": "```"}), ("g", {})]),
]

REFUSED: list[tuple[str, str, str]] = [
    ("glm4_moe", "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>it", "no closing tag"),
    ("glm4_moe", "<tool_call>f\n<arg_key>a</arg_key>\n", "another argument or the closing tag"),
    ("qwen3_coder", "<tool_call>\n<function=f>\n<parameter=x>\nv", "no closing tag"),
    ("qwen3_coder", "<tool_call>\n<function=f>\n<parameter=x>\nv\n</parameter>\n", "the closing tag of the call"),
    ("seed_oss", "<seed:tool_call>\n<function=f>\n<parameter=x>v</parameter>", "the closing tag of the call"),
    ("minimax2", '<invoke name="f">\n<parameter name="x">v</parameter>\n', "the closing tag of the call"),
    ("glm4_moe", "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>it</arg_value>\n", "the closing tag of the call"),
    ("glm4_moe", "<tool_call>f<arg_key>a</arg_key><arg_value>it</arg_value>", "</tool_call> is expected"),
    (
        "glm4_moe",
        "<tool_call>g</tool_call>\n<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>it</arg_value>",
        "</tool_call> is expected",
    ),
    ("qwen3_coder", "<tool_call>\n<function=f>\nx=1\n</function>", "another argument or the closing tag"),
    ("qwen3_coder", "<tool_call>\n<function=>\n</function>", "the tag of a call"),
    ("qwen3_coder", "<tool_call>\n<function=f>\n", "another argument or the closing tag"),
    ("qwen3_coder", "<tool_call>\n<function=f>\n</function>\nand more", "</tool_call> is expected"),
    ("seed_oss", "<seed:tool_call>\n<function=f>\n<parameter=x>v</function>\n</seed:tool_call>", "no closing tag"),
    ("minimax1", '<tool_calls>\n{"name": "f", "arguments": {}}\nand more', "</tool_calls> is expected"),
    ("minimax1", '<tool_calls>\n{"name": "f", "arguments": {"a": ', "malformed JSON"),
    ("minimax2", '<invoke name="f">\n<parameter name="x">v</invoke>', "no closing tag"),
    ("minimax2", "<minimax:tool_call>\n<invoke name=f>\n</invoke>", "the tag of a call"),
    ("harmony", "<|channel|>commentary to=functions.f {}", r"<\|message\|> is expected"),
    ("harmony", "<|channel|>commentary to=functions.f<|message|>[1]<|call|>", "must be a JSON object"),
    ("harmony", "<|channel|>commentary to=functions.f<|message|>{} and more", r"<\|call\|> is expected"),
    ("mistral_v11", "[TOOL_CALLS]f[ARGS]", "must be a JSON object"),
    ("mistral_v11", "[TOOL_CALLS]f(x=1)", "must be a JSON object"),
    ("deepseek_v3", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n{}", "a tool's name and ```json"),
    ("deepseek_v31", "<｜tool▁call▁begin｜>f {}", "a tool's name and <｜tool▁sep｜>"),
    ("deepseek_v31", "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{} and more", "<｜tool▁call▁end｜> is expected"),
    ("deepseek_v32", '<｜DSML｜invoke name="f"><｜DSML｜parameter name="x">v</｜DSML｜invoke>', "no closing tag"),
    ("kimi_k2", "<|tool_call_begin|>functions.f:0{}", "its number"),
    ("kimi_k2", "<|tool_call_begin|>functions.:0<|tool_call_argument_begin|>{}", "a tool's name"),
    ("gemma4", "<|tool_call>call:f{a:Paris}<tool_call|>", "a value is expected"),
    ("gemma4", '<|tool_call>call:f{a:<|"|>Paris}<tool_call|>', "never closed"),
    ("gemma4", "<|tool_call>call:f{a 1}<tool_call|>", "a colon"),
    ("gemma4", "<|tool_call>call:f{a:1 b:2}<tool_call|>", "a comma or '}'"),
    ("gemma4", "<|tool_call>call:f{a:" + "[" * 100 + "]" * 100 + "}<tool_call|>", "nested more than"),
    ("llama31_function", "<function=f>x</function>", "must be a JSON object"),
    ("llama31_function", '<function=f>"x"</function>', "text that is no JSON"),
    ("tool_calls", '{"tool_calls": [{"arguments": {}}]}', 'needs "name"'),
    ("function_call", '{"function_call": {"arguments": {}}}', 'needs "name"'),
    ("tool_use", '{"type": "tool_use", "name": "f"}', 'and "input"'),
    ("tool_use", '{"type": "tool_use", "name": "f", "input": [1]}', "JSON object"),
    ("command_r", 'Action: ```json\n[{"parameters": {}}]\n```', 'needs "tool_name"'),
    ("command_r", '<|START_ACTION|>{"tool_name": "f"}', "a JSON list of calls"),
    ("granite", '<|tool_call|>[{"name": "f", "arguments": {}}', "closing bracket"),
    ("internlm2", "<|action_start|><|plugin|>\nf(x=1)", "JSON object is expected"),
    ("lfm2", '<|tool_call_start|>[f(x="a)]<|tool_call_end|>', "never closed"),
    ("lfm2", "<|tool_call_start|>[f(x=1)", "closing bracket"),
    ("lfm2", '<|tool_call_start|>{"name": "f", "arguments": {}', "a comma or"),
    ("lfm2", '<|tool_call_start|>{"name": "f", "arguments": {}} x', "is expected after a call"),
    ("pythonic", "<|python_start|>[f(x=1) and more", "closing bracket"),
    ("tool_code", "```tool_code\nprint(f(x=1)\n```", "parenthesis of print"),
    ("tool_code", "```tool_code\nx = 1\n```", "a tool's name"),
]

NO_CALL: list[tuple[str, str]] = [
    ("glm4_moe", 'The tag <tool_call> opens a call; <tool_call>{"name": "f", "arguments": {}}</tool_call>'),
    ("qwen3_coder", '<tool_call>{"name": "f", "arguments": {}}</tool_call>'),
    ("minimax1", "Put them between <tool_calls></tool_calls>."),
    ("mistral_v11", '[TOOL_CALLS] [{"name": "f", "arguments": {}}]'),
    ("deepseek_v3", "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜>"),
    ("deepseek_v31", "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n```<｜tool▁call▁end｜>"),
    ("llama31_function", "<function=f>\n<parameter=x>\nv\n</parameter>\n</function>"),
    ("harmony", "It goes to=functions.f as <|channel|>final<|message|> says."),
    ("tool_calls", '{"tool_calls": [], "content": "x"} and {"tool_calls": null} and {"a": {"tool_calls": 1}}'),
    ("function_call", '{"function_call": null, "content": "x"}'),
    ("tool_use", '{"type": "text", "text": "tool_use"}'),
    ("granite", '<tool_call>{"name": "f", "arguments": {}}</tool_call>'),
    ("tool_code", "```python\nf(x=1)\n```"),
]
