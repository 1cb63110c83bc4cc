"""The keys of a call's object, and those that models write for them."""

ARGUMENT_KEYS = ("arguments", "parameters")
OTHER_ARGUMENT_KEYS = (
    *("arg", "args", "kwargs", "input", "params", "parameter", "argument", "action_input", "tool_input"),
    *("arguments_json", "tool_arguments", "function_arguments"),
)
OTHER_NAME_KEYS = ("tool", "tool_name", "function", "function_name", "action", "api", "api_name", "recipient_name")
NAME_KEYS = ("name", *OTHER_NAME_KEYS)
# Beside a call without arguments.
HARMLESS = {"name", "id", "type", "index", "call_id", "tool_call_id", "status"}
ALL_KEYS = {*NAME_KEYS, *ARGUMENT_KEYS, *OTHER_ARGUMENT_KEYS, *HARMLESS}
