"""Feedback in plain words: whether it begins as reports of errors do, and what kind of error a report is about."""

from __future__ import annotations

import re

TOOL_INSTABILITY = "Tool Instability"
TOOL_CALL_FAILURE = "Tool Call Failure"
TOOL_HALLUCINATION = "Tool Hallucination"
PARAMETER_HALLUCINATION = "Parameter Hallucination"
PARAMETER_MISSING = "Parameter Missing"
OTHERS = "Others"

_LONGEST_REPORT = 4_000  # characters of a report that are read for its category

_PHRASES = (
    r"bad request|unauthori[sz]ed|payment required|forbidden|not found|method not allowed|not acceptable"
    r"|proxy authentication required|request time-?out|unprocessable (?:entity|content)|too many requests"
    r"|internal server error|not implemented|bad gateway|service (?:temporarily )?unavailable|gateway time-?out"
)
_CODED_PHRASES = rf"{_PHRASES}|conflict|gone|locked|precondition failed|payload too large|client error|server error"
_PARAMETERS = r"(?:param(?:eter)?s?|arguments?|keywords?|fields?|inputs?|propert(?:y|ies)|keys?)"
_ADJECTIVES = (
    r"(?:api|http|https|server|client|internal|request|response|connection|network|time-?out|runtime|execution|tool"
    r"|function|system|unknown|fatal|unexpected|pars(?:e|ing)|syntax|validation|authentication|authorization|database"
    r"|input|invalid|critical|generic)"
)

# The first kind with a pattern that occurs in a report is the report's.
_PATTERNS = {
    PARAMETER_HALLUCINATION: (
        r"unexpected keyword",
        r"\btakes (?:from \d+ to )?\d+ positional arguments? but",
        rf"\b(?:unknown|unexpected|unrecogni[sz]ed|undeclared|extra|no such) (?:query |named )?{_PARAMETERS}\b",
        r"additional properties are not allowed|extra inputs are not permitted",
        rf"\b{_PARAMETERS}\b.{{0,60}}? (?:is|are|was|were) not (?:recogni[sz]ed|expected|allowed|defined)\b",
    ),
    PARAMETER_MISSING: (
        r"\bmissing (?:\d+ |an? |the |some )?(?:required |mandatory )?"
        rf"(?:positional |keyword-only |keyword |query |path |body |input )?{_PARAMETERS}\b",
        rf"\b(?:required|mandatory) (?:query |body |input )?{_PARAMETERS}\b.{{0,60}}?"
        r"(?:\bmissing\b|\bnot (?:provided|specified|given|set|present)\b)",
        rf"\b{_PARAMETERS}\b.{{0,60}}? (?:is|are) (?:required|missing|mandatory)\b",
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
        rf"\b[45]\d\d:?,? ?-? ?(?:{_CODED_PHRASES})|\A(?:{_PHRASES.replace('|not found', '')})\b",
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

# How feedback in plain words begins when it reports an error.
_BEGINNINGS = re.compile(
    "|".join(
        (
            r"https?connectionpool\(|\('connection aborted|max retries exceeded|<urlopen error",
            r"[\w.]+(?:\(\))? (?:got an unexpected keyword|got multiple values|missing \d+ required)",
            r"[\w.]+(?:\(\))? takes (?:from \d+ to )?\d+ positional",
            r"name ['\"]\w+['\"] is not defined|'?\w+'? object (?:is not |has no )|object of type \w+ is not json",
            r"(?:list|string|tuple) index out of range|(?:slice|list|tuple|string) indices must be",
            r"unsupported operand|invalid literal for|could not convert|expecting value: line|division by zero",
            r"'(?:\w+_\w+|error)'\Z",  # the text of a KeyError
            rf"(?:(?:an?|the|some) )?(?:{_ADJECTIVES} ){{0,3}}(?:error|exception|failure)s?\b"
            r"(?=\s*(?:[:!.(]|\Z|[45]\d\d\b)| (?:has )?occurred| was (?:raised|encountered|thrown)"
            r"| (?:while|when|during|in) \w+ing\b| (?:executing|calling|running|invoking|fetching|processing)\b"
            r"| (?:code|message):)",
            r"https?(?:/[\d.]+)?[ :]*(?:status|error|response)?[ :]*(?:code)?[ :]*[45]\d\d\s*"
            rf"(?=\Z|[-:.,(]|{_CODED_PHRASES})",
            rf"[45]\d\d\s?[-:,]?\s?(?:{_CODED_PHRASES})|status[ :]+[45]\d\d\b",
            r"(?:the )?(?:api|http|server|request|response|call|tool|function)\b[^.!?\n]{0,80}?"
            r" (?:code|status|http)[: ]*[45]\d\d\b",
            r"(?:the )?(?:api|server|request|call) (?:has )?(?:returned|responded|failed) with[^.\n]{0,40} [45]\d\d\b",
            r"<(?:!doctype|html)[^\0]{0,500}?<title>\s*(?:[45]\d\d\b|error\b)",
            rf"(?:{_PHRASES})[.!]?\Z",
            r"invalid (?:api\b|request|inputs?\b|param|argument|token|credential|url|json|key|access|format|endpoint)",
            r"(?:unknown|unexpected|unrecogni[sz]ed|no such|undefined|invalid) (?:tool|function)\b",
            r"(?:unknown|unexpected|unrecogni[sz]ed|no such|undefined) (?:param|argument|keyword|field)",
            rf"missing (?:an? |the |\d+ )?(?:required |mandatory )?(?:api |access )?(?:{_PARAMETERS}|token)\b",
            rf"(?:the )?(?:required )?{_PARAMETERS} ['\"]?[\w.-]+['\"]? (?:is|are|was) "
            r"(?:required|missing|mandatory|not \w+)\b",
            r"you (?:are not (?:subscribed|authori[sz]ed|allowed|permitted)|have (?:exceeded|reached))",
            r"(?:(?:api|daily|monthly|request|your) )*(?:rate|quota|usage) limit|too many requests",
            r"access (?:is )?denied|permission denied|authentication (?:failed|required|credentials)",
            r"something went wrong|please try again later|time-?out[.!]?\Z",
            r"(?:the |this )?(?:service|server|api|endpoint|tool|function)(?: ['\"]?[\w.-]+['\"]?)? (?:(?:is|was) )?"
            r"(?:currently |temporarily )?(?:unavailable|down\b|unreachable|not (?:responding|available|found|exist)"
            r"|does(?:n't| not) exist|under maintenance|failed\b|timed out|(?:cannot|could not) be)",
            r"(?:the )?(?:request|operation|connection|call|execution|read)(?: to [\w./:-]+)? (?:(?:has|was) )?"
            r"(?:failed|timed? ?out|refused|rejected|denied|aborted|reset|could not|cannot)\b",
            r"(?:failed|unable) to \w+|(?:could not|couldn't|cannot|can't) (?:connect|fetch|get|retrieve|load|process"
            r"|parse|find|reach|resolve|execute|complete|access|decode|establish|authenticate|create|send|open|read"
            r"|perform|call)\b",
            r"[^.!?\n]{1,80} (?:is not a (?:valid|known) (?:tool|function)|(?:is|are) not supported[.!]?\Z)",
        )
    ),
    re.IGNORECASE,
)
_EXCEPTION = re.compile(
    r".{0,200}?\bTraceback \(most recent call last\):|(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Timeout)\s*(?:[:(]|\Z)",
    re.DOTALL,
)
# The sentence around the reason in the feedback of ToolEyes' tools (Table 14).
_EXECUTION = re.compile(r"The function cannot be executed\b(?:.*?for the reason:)?\s*(?P<reason>.*)", re.DOTALL)
_MEASURE = re.compile(r"\W*error\W*[-+±~]?\s?\d+(?:\.\d+)?\s?%?\.?\Z", re.IGNORECASE)
_HTTP_CODE = re.compile(r"\b[45]\d\d\b(?!\.\d|\s?%)")


def kind_of(report: str) -> str:
    """The category of a text that is known to report an error."""
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(report[:_LONGEST_REPORT])), OTHERS)


def stated_error(text: str) -> str | None:
    """The category of the error that plain words report; None if they report none.

    Args:
        text: without white space at its ends.
    """
    if reported := _EXECUTION.match(text):
        return _kind_or(TOOL_CALL_FAILURE, reported["reason"].strip())
    if _MEASURE.match(text) and not _HTTP_CODE.search(text):
        return None
    if _EXCEPTION.match(text):
        return _kind_or(TOOL_CALL_FAILURE, text)
    if _BEGINNINGS.match(text):
        return _kind_or(TOOL_INSTABILITY if _HTTP_CODE.search(text[:200]) else OTHERS, text)
    return None


def _kind_or(default: str, report: str) -> str:
    found = kind_of(report)
    return default if found == OTHERS else found
