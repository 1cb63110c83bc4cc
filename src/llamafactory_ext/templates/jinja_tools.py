"""Ways to write one tool, as Jinja expressions over `tool` (OpenAI's form) and `fn` (its function object).

Objects are made member by member: minijinja, in which TGI and others render templates, makes none of pairs. JSON needs
no macro. The others are the wire formats of `toolcalls/tools/` and of LLaMA-Factory's `default` tools.
"""

from __future__ import annotations

WRITERS = (
    "tool | tojson",
    "tool | tojson(indent=4)",
    "fn | tojson",
    "fn | tojson(indent=4)",
    "listed(fn)",
    "api_bank(fn)",
    "toolalpaca(fn)",
    "signature(fn)",
    "listed_parameters(fn)",
)

_PROPERTIES = """\
{%- set schema = fn['parameters'] | default({}) -%}
{%- set properties = schema['properties'] | default({}) -%}
{%- set required = schema['required'] | default([]) -%}
"""

# LLaMA-Factory's format `default`: one line per parameter.
_LISTED = (
    "{%- macro listed(fn) -%}\n"
    + _PROPERTIES
    + """\
{{- '> Tool Name: ' ~ fn['name'] ~ '\\nTool Description: ' ~ (fn['description'] | default('')) -}}
{{- '\\nTool Args:\\n' -}}
{%- for key, value in properties | items -%}
{{- '  - ' ~ key ~ ' (' ~ (value['type'] | default('')) ~ (', required' if key in required else '') ~ '): ' -}}
{{- value['description'] | default('') -}}
{%- if value['enum'] -%}{{- ', should be one of [' ~ (value['enum'] | join(', ')) ~ ']' -}}{%- endif -%}
{%- for name, one in value | items if name == 'items' and one -%}
{{- ', where each item should be ' ~ (one['type'] | default('')) -}}
{%- endfor -%}
{{- '\\n' -}}
{%- endfor -%}
{{- '\\n' -}}
{%- endmacro -%}
"""
)

# A schema with API-Bank's names of the JSON types.
_TYPED = """\
{%- macro typed(schema) -%}
{%- set types = {'string': 'str', 'integer': 'int', 'number': 'float', 'boolean': 'bool', 'array': 'list', \
'object': 'dict', 'null': 'null'} -%}
{{- '{' -}}
{%- for key, value in schema | items -%}
{{- ('' if loop.first else ', ') ~ (key | tojson) ~ ': ' -}}
{%- if key == 'type' and value is string and value in types -%}{{- types[value] | tojson -}}
{%- elif key == 'items' and value is mapping -%}{{- typed(value) -}}
{%- elif key == 'properties' and value is mapping -%}
{{- '{' -}}
{%- for inner, member in value | items -%}
{{- ('' if loop.first else ', ') ~ (inner | tojson) ~ ': ' -}}
{{- typed(member) if member is mapping else member | tojson -}}
{%- endfor -%}
{{- '}' -}}
{%- else -%}{{- value | tojson -}}{%- endif -%}
{%- endfor -%}
{{- '}' -}}
{%- endmacro -%}
"""

_API_BANK = (
    _TYPED
    + "{%- macro api_bank(fn) -%}\n"
    + _PROPERTIES
    + """\
{%- set coded = 'response' in fn -%}
{{- '{' ~ ('"apiCode": ' if coded else '"name": ') ~ (fn['name'] | tojson) -}}
{{- ', "description": ' ~ (fn['description'] | default('') | tojson) -}}
{{- (', "parameters": {' if coded else ', "input_parameters": {') -}}
{%- for key, value in properties | items -%}
{{- ('' if loop.first else ', ') ~ (key | tojson) ~ ': ' ~ typed(value) -}}
{%- endfor -%}
{{- '}' -}}
{%- set result = 'response' if coded else 'output_parameters' -%}
{%- if result in fn -%}{{- ', "' ~ result ~ '": ' ~ (fn[result] | tojson) -}}{%- endif -%}
{%- if required | list != properties | list -%}{{- ', "required": ' ~ (required | tojson) -}}{%- endif -%}
{{- '}' -}}
{%- endmacro -%}
"""
)

# A parameter is a text where the text says all of it, else an object; see `toolcalls/tools/toolalpaca.py`.
_TOOLALPACA = (
    """\
{%- macro parameter(value, is_required) -%}
{%- set kinds = ['string', 'integer', 'number', 'boolean', 'array', 'object', 'null'] -%}
{%- set about = value['description'] -%}
{%- set lead = about.split('. ')[0] if about is string and '. ' in about else '' -%}
{%- set typed_text = lead and '.' not in lead and lead.split() == [lead] -%}
{%- if about is string and value | length == 2 and value['type'] is string and value['type'] in kinds -%}
{{- (('Required. ' if is_required else '') ~ value['type'] ~ '. ' ~ about) | tojson -}}
{%- elif about is string and value | length == 1 and not is_required and not typed_text -%}
{{- about | tojson -}}
{%- else -%}
{{- '{"required": ' ~ (is_required | tojson) ~ ', "schema": ' ~ (value | tojson) ~ '}' -}}
{%- endif -%}
{%- endmacro -%}
{%- macro toolalpaca(fn) -%}
"""
    + _PROPERTIES
    + """\
{%- set ordered = namespace(names=[]) -%}
{%- for key in properties if key in required -%}{%- set ordered.names = ordered.names + [key] -%}{%- endfor -%}
{%- set plain = ordered.names == required | list -%}
{%- set about = fn['description'] | default('') -%}
{{- fn['name'] ~ ': ' ~ (about ~ '\\n' if plain and about else '') ~ 'Parameters: {' -}}
{%- for key, value in properties | items -%}
{{- ('' if loop.first else ', ') ~ (key | tojson) ~ ': ' ~ parameter(value, key in required) -}}
{%- endfor -%}
{{- '}' -}}
{%- if not plain -%}
{{- '\\nExtra: {"description": ' ~ (about | tojson) ~ ', "required": ' ~ (required | tojson) ~ ', "extra": ' -}}
{{- ('{"Output": ' ~ (fn['Output'] | tojson) ~ '}' if 'Output' in fn else '{}') ~ '}' -}}
{%- elif 'Output' in fn -%}{{- '\\n' ~ fn['Output'] -}}{%- endif -%}
{%- endmacro -%}
"""
)

# A Python signature and its docstring, without what ends the docstring.
_SIGNATURE = (
    """\
{%- macro indented(text, by) -%}
{%- for line in text.split('\\n') -%}{{- ('' if loop.first else '\\n') ~ (by ~ line if line else '') -}}{%- endfor -%}
{%- endmacro -%}
{%- macro spelled(name) -%}
{{- name if name.split() == [name] and '(' not in name and '"' not in name else name | tojson -}}
{%- endmacro -%}
{%- macro kind(value) -%}
{{- value['type'] if value['type'] is string else 'any' -}}
{%- endmacro -%}
{%- macro signature(fn) -%}
"""
    + _PROPERTIES
    + """\
{%- set ordered = namespace(names=[], listed=[], more={}) -%}
{%- for key in required if key in properties and key not in ordered.names -%}
{%- set ordered.names = ordered.names + [key] -%}
{%- endfor -%}
{%- set ordered.listed = ordered.names -%}
{%- for key in properties if key not in ordered.names -%}
{%- set ordered.names = ordered.names + [key] -%}
{%- endfor -%}
{{- 'def ' ~ fn['name'] ~ '(' -}}
{%- for key in ordered.names -%}
{{- ('' if loop.first else ', ') ~ spelled(key) ~ ': ' ~ kind(properties[key]) -}}
{{- '' if key in required else ' = None' -}}
{%- endfor -%}
{{- '):\\n    \"\"\"\\n' ~ indented(fn['description'] | default(''), '    ') ~ '\\n\\n    Args:' -}}
{%- for key in ordered.names -%}
{%- set value = properties[key] -%}
{%- set ordered.more = {} -%}
{%- for name, one in value | items if not (name in ['type', 'description'] and one is string) -%}
{%- set ordered.more = dict(ordered.more, **{name: one}) -%}
{%- endfor -%}
{{- '\\n    ' ~ spelled(key) ~ ' (' ~ kind(value) ~ (', ' ~ (ordered.more | tojson) if ordered.more else '') -}}
{{- ')' -}}
{%- if value['description'] is string -%}
{%- for line in value['description'].split('\\n') -%}
{{- (': ' if loop.first else '\\n' ~ ('        ' if line else '')) ~ line -}}
{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{%- if required | list != ordered.listed -%}
{{- '\\n    Extra: {"required": ' ~ (required | tojson) ~ '}' -}}
{%- endif -%}
{%- endmacro -%}
"""
)

# Qwen's ReAct prompt: a list of parameters, each with its schema.
_LISTED_PARAMETERS = (
    "{%- macro listed_parameters(fn) -%}\n"
    + _PROPERTIES
    + """\
{%- set rest = namespace(members={}) -%}
{{- (fn['description'] | default('')) ~ ' Parameters: [' -}}
{%- for key, value in properties | items -%}
{%- set rest.members = {} -%}
{%- for name, one in value | items if name != 'description' -%}
{%- set rest.members = dict(rest.members, **{name: one}) -%}
{%- endfor -%}
{{- ('' if loop.first else ', ') ~ '{"name": ' ~ (key | tojson) -}}
{{- ', "description": ' ~ (value['description'] | default('') | tojson) -}}
{{- ', "required": ' ~ ((key in required) | tojson) ~ ', "schema": ' ~ (rest.members | tojson) ~ '}' -}}
{%- endfor -%}
{{- ']' -}}
{%- endmacro -%}
"""
)

_MACROS = {
    "listed(": _LISTED,
    "api_bank(": _API_BANK,
    "toolalpaca(": _TOOLALPACA,
    "signature(": _SIGNATURE,
    "listed_parameters(": _LISTED_PARAMETERS,
}


def macros_of(writer: str) -> str:
    """Return the macros that one of `WRITERS` calls."""
    return next((source for start, source in _MACROS.items() if writer.startswith(start)), "")


def tool_statements(*, ordered: bool) -> str:
    """Return the statements that fill `state.tools` from `tools`, each tool in OpenAI's form.

    Members of a function that are null are left out: vLLM sends a null description for a tool without one.

    Args:
        ordered: whether members stand in the order of `toolcalls.Tool`, not in that of the request.
    """
    if not ordered:
        return _TOOLS.format(members=_members("source", ()), parameters="")
    parameters = _members("source['parameters']", ("type", "properties", "required"))
    return _TOOLS.format(
        members=_members("source", ("name", "description", "parameters")), parameters=_ORDERED.format(parameters)
    )


_TOOLS = """\
{{%- for given in tools or [] -%}}
{{%- set source = given['function'] if 'function' in given else given -%}}
{parameters}\
{members}\
{{%- set state.function = state.members -%}}
{{%- set state.members = {{'type': 'function', 'function': state.function}} -%}}
{{%- for key, value in given | items if 'function' in given and key not in ['type', 'function'] -%}}
{{%- set state.members = dict(state.members, **{{key: value}}) -%}}
{{%- endfor -%}}
{{%- set state.tools = state.tools + [state.members] -%}}
{{%- endfor -%}}
"""
_ORDERED = """\
{{%- if source['parameters'] is mapping -%}}
{0}\
{{%- set source = dict(source, parameters=state.members) -%}}
{{%- endif -%}}
"""


def _members(source: str, first: tuple[str, ...]) -> str:
    """Return the statements that fill `state.members` with the members of an object, some of them first."""
    names = list(first)
    return f"""\
{{%- set state.members = {{}} -%}}
{{%- for key in {names} if key in {source} and {source}[key] is not none -%}}
{{%- set state.members = dict(state.members, **{{key: {source}[key]}}) -%}}
{{%- endfor -%}}
{{%- for key, value in {source} | items if key not in {names} and value is not none -%}}
{{%- set state.members = dict(state.members, **{{key: value}}) -%}}
{{%- endfor -%}}
"""
