"""The paper's categories of errors (TL-Training, arXiv:2412.15495, Table 14)."""

TOOL_INSTABILITY = "Tool Instability"
TOOL_CALL_FAILURE = "Tool Call Failure"
TOOL_HALLUCINATION = "Tool Hallucination"
PARAMETER_HALLUCINATION = "Parameter Hallucination"
PARAMETER_MISSING = "Parameter Missing"
OTHERS = "Others"
