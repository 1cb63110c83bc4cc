"""What kind of error a report is about, by the words it uses."""

from __future__ import annotations

import re

from .categories import (
    OTHERS,
    PARAMETER_HALLUCINATION,
    PARAMETER_MISSING,
    TOOL_CALL_FAILURE,
    TOOL_HALLUCINATION,
    TOOL_INSTABILITY,
)
from .languages import kind_elsewhere

_LONGEST_REPORT = 4_000  # characters of a report that are read for its category

# Reason phrases of HTTP (RFC 9110), and those that say something only with their number in front.
PHRASES = (
    r"bad request|unauthori[sz]ed|payment required|forbidden|not found|method not allowed|not acceptable"
    r"|proxy authentication required|request time-?out|unprocessable (?:entity|content)|too many requests"
    r"|internal server error|not implemented|bad gateway|service (?:temporarily )?unavailable|gateway time-?out"
)
CODED_PHRASES = rf"{PHRASES}|conflict|gone|locked|precondition failed|payload too large|client error|server error"
PARAMETERS = r"(?:param(?:eter)?s?|arguments?|keywords?|fields?|inputs?|propert(?:y|ies)|keys?)"
# The first kind with a pattern that occurs in a report is the report's.
_PATTERNS = {
    PARAMETER_HALLUCINATION: (
        r"unexpected keyword",
        r"\btakes (?:from \d+ to )?\d+ positional arguments? but",
        rf"\b(?:unknown|unexpected|unrecogni[sz]ed|undeclared|extra|no such) (?:query |named )?{PARAMETERS}\b",
        r"additional properties are not allowed|extra inputs are not permitted",
        rf"\b{PARAMETERS}\b.{{0,60}}? (?:is|are|was|were) not (?:recogni[sz]ed|expected|allowed|defined)\b",
    ),
    PARAMETER_MISSING: (
        r"\bmissing (?:\d+ |an? |the |some )?(?:required |mandatory )?"
        rf"(?:positional |keyword-only |keyword |query |path |body |input )?{PARAMETERS}\b",
        rf"\b(?:required|mandatory) (?:query |body |input )?{PARAMETERS}\b.{{0,60}}?"
        r"(?:\bmissing\b|\bnot (?:provided|specified|given|set|present)\b)",
        rf"\b{PARAMETERS}\b.{{0,60}}? (?:is|are) (?:required|missing|mandatory)\b",
        r"is a required property|field required|\A['\"]?(?!auth|login|subscription)\w+['\"]? is required\b",
    ),
    TOOL_HALLUCINATION: (
        r"\bname ['\"]?\w+['\"]? is not defined|\bis not a (?:valid|known) (?:tool|function)\b",
        r"\b(?:unknown|undefined|no such|non-?existent|unrecogni[sz]ed|invalid) (?:tool|function)\b"
        r"(?! (?:arg|param|call))",
        r"\b(?:tool|function)(?: named| name| called)?(?: ['\"]?[\w.-]{1,80}['\"]?)? "
        r"(?:(?:is|was|does|could) not|isn't|wasn't|doesn't|not) "
        r"(?:found|exist|defined|available|registered|declared|recogni[sz]ed|be found|a valid|a known)",
    ),
    TOOL_INSTABILITY: (
        r"connection ?(?:pool|error|failed|timed out|was |refused|reset|aborted|closed)|max retries exceeded",
        r"\btimed?[ -]?out\b|timeout|under maintenance|ssl error|certificate verify|getaddrinfo|name resolution",
        r"name or service not known|establish a new connection|urlopen error|try again later",
        rf"\b[45]\d\d:?,? ?-? ?(?:{CODED_PHRASES})|\A(?:{PHRASES.replace('|not found', '')})\b",
        r"\bhttps?(?:/[\d.]+)?(?: status)?(?: code| error)?:? ?[45]\d\d\b|\bstatus(?: code)?:? ?[45]\d\d\b",
        r"rate limit|too many requests|\bquota\b|exceeded .{0,60}?(?:limit|quota|frequency)",
        r"invalid api call|not subscribed|unauthori[sz]ed|forbidden|access denied|internal (?:server )?error",
        r"\b(?:invalid|incorrect|missing|expired|wrong|bad|unknown) (?:or missing )?(?:api|access)[ _-]?(?:key|token)",
        r"\b(?:service|server|api|host|network|endpoint)\b.{0,40}? (?:unavailable|unreachable|down|overloaded)\b",
        r"\b(?:api|endpoint)\b.{0,40}? (?:not|doesn't) exists?\b",
    ),
    TOOL_CALL_FAILURE: (
        r"response error|\b(?:execution|call|request|function|tool|operation) (?:has |was )?failed|\bfailed to\b",
        r"\b(?:can|could) ?not be executed|\b\w+(?:Error|Exception)\b(?:[:(]|\Z)|traceback|division by zero",
        r"object is not |has no attribute|not JSON serializable|ind(?:ex|ices) (?:must be|out of range)",
        r"unsupported operand|invalid literal|could not convert|expecting value|\A'\w+'\Z",
    ),
}
_KINDS = {kind: re.compile("|".join(patterns), re.IGNORECASE) for kind, patterns in _PATTERNS.items()}


def kind_of(report: str) -> str:
    """Return the category of a text that is known to report an error."""
    head = report[:_LONGEST_REPORT]
    found = next((kind for kind, pattern in _KINDS.items() if pattern.search(head)), OTHERS)
    return kind_elsewhere(head) if found == OTHERS else found


def kind_or(default: str, report: str) -> str:
    """Return the category of a report; `default` where its words name none."""
    found = kind_of(report)
    return default if found == OTHERS else found
