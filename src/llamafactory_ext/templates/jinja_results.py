"""Feedback as JSON, in Jinja: objects and lists in the spacing of `json.dumps`, any other text as a JSON string.

Jinja reads no JSON, so what begins and ends like an object or a list is taken for one. Escapes of letters become the
letters; numbers stand as they are written.
"""

AS_JSON = """\
{%- macro as_json(result) -%}
{%- set given = result | trim -%}
{%- set after = given[1:].lstrip()[:1] -%}
{%- if (given[:1] == '{' and given[-1:] == '}' and after in ['"', '}']) \
or (given[:1] == '[' and given[-1:] == ']' and after and after in ']["{-0123456789tfn') -%}
{%- set at = namespace(inside=false, escape=false, hex=false, digits='', high=0) -%}
{%- for letter in given -%}
{%- if at.hex -%}
{%- set at.digits = at.digits ~ letter -%}
{%- if at.digits | length == 4 -%}
{%- set code = at.digits | int(base=16) -%}
{%- set at.hex = false -%}
{%- if 55296 <= code <= 56319 -%}
{%- set at.high = code -%}
{%- elif 56320 <= code <= 57343 and at.high -%}
{{- '%c' | format(65536 + (at.high - 55296) * 1024 + code - 56320) -}}{%- set at.high = 0 -%}
{%- else -%}
{{- ('%c' | format(code) | tojson)[1:-1] -}}
{%- endif -%}
{%- endif -%}
{%- elif at.escape -%}
{%- set at.escape = false -%}
{%- if letter == 'u' -%}{%- set at.hex = true -%}{%- set at.digits = '' -%}
{%- else -%}{{- letter if letter == '/' else '\\\\' ~ letter -}}{%- endif -%}
{%- elif at.inside and letter == '\\\\' -%}{%- set at.escape = true -%}
{%- elif letter == '"' -%}{%- set at.inside = not at.inside -%}{{- letter -}}
{%- elif at.inside -%}{{- letter -}}
{%- elif letter.strip() -%}{{- letter ~ (' ' if letter in ',:' else '') -}}
{%- endif -%}
{%- endfor -%}
{%- else -%}{{- result | tojson -}}
{%- endif -%}
{%- endmacro -%}
"""
