"""Feedback in plain English: whether it begins as reports of errors do."""

from __future__ import annotations

import re

from .categories import OTHERS, TOOL_CALL_FAILURE, TOOL_INSTABILITY
from .kinds import CODED_PHRASES, PARAMETERS, PHRASES, kind_or
from .languages import stated_elsewhere
from .programs import exit_code, reports_crash, reports_program_error

_ADJECTIVES = (
    r"(?:api|http|https|server|client|internal|request|response|connection|network|time-?out|runtime|execution|tool"
    r"|function|system|unknown|decode|decoding|encoding|schema|storage|disk|auth|gateway|upstream|backend"
    r"|service|unhandled"
    r"|processing|application|fatal|unexpected|pars(?:e|ing)|syntax|validation|authentication|authorization"
    r"|database"
    r"|input|invalid|critical|generic|mcp|json|query|sql|permission|command|file|io|i/o|value|type|key|import|error"
    r"|calculator|calculation|evaluation|expression|formula|math|conversion|lookup|search|fetch|download|upload|payment"
    r"|booking|calendar|e?mail|smtp|imap|dns|ssl|tls|socket|protocol|handshake|certificate|token|browser|page|plugin"
    r"|webhook|sandbox|interpreter|compiler|compil(?:e|ation)|linker|build|deployment|python|node|javascript|shell"
    r"|bash|git|github|docker|kubernetes|redis|mongo(?:db)?|postgres(?:ql)?|mysql|sqlite|openai|aws|azure|google"
    r"|slack|stripe|playwright|selenium|index|attribute|assertion|name|os|memory|rate limit|quota|weather|worker)"
)
# What can be missing, wrong or twice there where a tool looks something up.
_ENTITIES = (
    r"(?:users?|accounts?|files?|folders?|director(?:y|ies)"
    r"|paths?|pages?|items?|records?|resources?|objects?|ids?|keys?"
    r"|cit(?:y|ies)|locations?|places?|countr(?:y|ies)"
    r"|orders?|products?|customers?|sessions?|tables?|columns?|databases?"
    r"|buckets?|repositor(?:y|ies)"
    r"|repos?|branch(?:es)?|channels?|messages?|chats?|threads?|events?|documents?|movies?"
    r"|songs?|artists?|playlists?|tickers?|symbols?|currenc(?:y|ies)"
    r"|flights?|hotels?|restaurants?|recipes?|books?|teams?"
    r"|players?|stations?|airports?|address(?:es)?|domains?|hosts?|urls?|endpoints?|routes?|methods?|tools?|functions?"
    r"|apis?|models?|images?|elements?|nodes?|packages?|modules?|commands?|jobs?|tasks?|tickets?|issues?|projects?"
    r"|invoices?|payments?|cards?|contacts?|devices?|rooms?|bookings?|reservations?|appointments?|tokens?|coupons?|codes?"
    r"|entr(?:y|ies)|entit(?:y|ies)"
    r"|groups?|roles?|members?|employees?|students?|courses?|patients?|sheets?|workbooks?"
    r"|rows?|cells?|posts?|comments?|tags?|categor(?:y|ies)|languages?|units?|time ?zones?|dates?|coordinates?"
    r"|postcodes?|zip codes?|quer(?:y|ies)"
    r"|parameters?|arguments?|fields?|values?|types?|formats?|versions?|collections?"
    r"|datasets?|variables?|relations?|names?|operations?|inputs?|features?|sources?|targets?|destinations?|selections?|propert(?:y|ies)|attributes?|alarms?|reminders?|calendars?|meetings?|notes?|containers?|pods?"
    r"|instances?|clusters?|regions?|services?|servers?|process(?:es)?|usernames?|passwords?|credentials?|emails?"
    r"|signatures?|certificates?|schemas?|payloads?|scopes?|licen[cs]es?|subscriptions?|plans?|index(?:es)?|selectors?)"
)
_ACTIONS = (
    r"(?:upload|download|login|log-?in|sign-?in|payment|build|query|validation|compilation|deployment|sync"
    r"|search|lookup"
    r"|update|creation|deletion|transaction|command|parsing|import|export|conversion|authentication|authorization"
    r"|verification|initiali[sz]ation|handshake|assertion|job|task|request|operation|connection|call|execution"
    r"|read|write"
    r"|save|delivery|booking|reservation|transfer|purchase|checkout|submission|fetch|retrieval|navigation|screenshot"
    r"|installation|migration|backup|restore|translation|transcription|rendering|processing|step|action|process"
    r"|script"
    r"|program|subprocess|server|service|api|tool|function|endpoint)"
)
_DOING = (
    r"(?:executing|calling|running|invoking|fetching|processing|reading|writing|opening|loading|creating"
    r"|deleting|updating"
    r"|searching|connecting|sending|querying|retrieving|getting|parsing|saving|downloading|uploading|accessing"
    r"|performing"
    r"|making|scraping|converting|decoding|encoding|validating|listing|copying|moving|renaming|applying|importing"
    r"|evaluating|compiling|setting|finding|adding|removing|authenticating|generating|initiali[sz]ing|resolving"
    r"|navigating"
    r"|clicking|translating|calculating|computing|looking|starting|stopping|using|communicating|submitting|editing)"
)
_NAMED = (
    r"(?: (?:with|named|called|for|by|of|id)(?: \w+){0,2}?)?"
    r"(?:[ :]*(?:['\"`#<\[(][^'\"`>\])\n]{1,60}['\"`>\])]?|[\w.@:/+-]{1,60}))?"
)
_ENTITY = (
    r"(?:sorry,? )?(?:the |this |that |an? |no |any |your |requested |specified |given |provided |selected ){0,3}"
    rf"(?:['\"`]?[\w.@/-]{{1,40}}['\"`]? ){{0,2}}?{_ENTITIES}{_NAMED}"
)
_END = r"[\s.!]*\Z"

# How feedback in plain words begins when it reports an error.
_BEGINNINGS = re.compile(
    "|".join(
        (
            r"https?connectionpool\(|\('connection aborted|max retries exceeded|<urlopen error"
            r"|<response \[[45]\d\d\]>",
            r"[\w.]+(?:\(\))? (?:got an unexpected keyword|got multiple values|missing \d+ required)",
            r"[\w.]+(?:\(\))? takes (?:from \d+ to )?\d+ positional",
            r"name ['\"]\w+['\"] is not defined|'?\w+'? object (?:is not |has no )|object of type \w+ is not json",
            r"(?:list|string|tuple) index out of range|(?:slice|list|tuple|string) indices must be",
            r"unsupported operand|invalid literal for|could not convert|expecting value: line|division by zero",
            r"'(?:\w+_\w+|error)'\Z",  # the text of a KeyError
            rf"(?:(?:an?|the|some) )?(?:{_ADJECTIVES} ){{0,3}}(?:error|exception|failure)s?\b"
            r"(?=\s*(?:[:!]|\.(?:\s|\Z)|\((?:code|http|\d)|\Z|[45]\d\d\b(?! (?:es|est|ist|e|is|was|fue) ))"
            r"|\s+[-–—]\s| (?:has )?occurred"
            r"| was (?:raised|encountered|thrown|returned)"
            rf"| (?:while|when|during|in) \w+ing\b| {_DOING}\b| (?:code|message|details?):"
            rf"| (?:code )?#?-?\d+\s*[:,(.-])",
            r"\[(?:tool |mcp |system |fatal |api )?(?:error|exception|failure"
            r"|errno)\b[^\]\n]{0,40}\][: -]*[^\n]{1,500}\Z",
            r"(?:we |i |the \w+ )?(?:have )?encountered an? (?:\w+ )?(?:error|problem|issue|exception)"
            r"|there (?:was|were|has been|is) an? (?:\w+ )?(?:error|problem|issue|exception)\b"
            r"|an? (?:\w+ )?(?:problem|issue) (?:has )?occurred",
            r"(?:sorry|oops|uh[- ]oh|apologies|we're sorry|we are sorry|i'm sorry|i am sorry)\b[^\n]{0,30}?"
            r"(?:went wrong|\berror\b|could(?: not|n't) (?:be )?(?:process|complete|connect|fetch|load"
            r"|understand|access)"
            r"|failed|unavailable|(?:can't|cannot|unable to) (?:be )?(?:process|complete|connect|fetch|load"
            r"|access))",
            r"https?(?:/[\d.]+)?[ :]*(?:status|error|response)?[ :]*(?:code)?[ :]*[45]\d\d\s*"
            rf"(?=\Z|[-:.,(]|{CODED_PHRASES})",
            rf"[45]\d\d\s?[-:,]?\s?(?:{CODED_PHRASES})(?=\s*(?:[:.,!(-]|\Z|\n| (?:for|error|from|while)))"
            r"|status[ :]+[45]\d\d\b",
            r"(?:the )?(?:api|http|server|request|response|call|tool|function)\b[^.!?\n]{0,80}?"
            r" (?:code|status|http)[: ]*[45]\d\d\b",
            r"(?:the )?(?:api|server|request|call) (?:has )?(?:returned|responded"
            r"|failed) with[^.\n]{0,40} [45]\d\d\b",
            r"<(?:!doctype|html)[^\0]{0,500}?<title>\s*(?:[45]\d\d\b|error\b)",
            rf"(?:{PHRASES})(?:[.!]?\Z|: )",
            r"invalid (?:api\b|request|inputs?\b|param|argument|token|credential|url|json|key|access|format"
            r"|endpoint)",
            rf"(?:invalid|incorrect|wrong|bad|malformed|unsupported|illegal|duplicate|expired|unknown"
            rf"|unrecogni[sz]ed"
            rf"|missing|no such|nonexistent) (?:or (?:missing|expired|malformed) )?(?:\w+ ){{0,2}}?{_ENTITIES}"
            r"(?:[\s.!]*\Z|:? ['\"`(\[<]|: | (?:provided|supplied|specified|given|in|for|format)\b)",
            r"(?:unknown|unexpected|unrecogni[sz]ed|no such|undefined|invalid) (?:tool|function)\b",
            r"(?:unknown|unexpected|unrecogni[sz]ed|no such|undefined) (?:param|argument|keyword|field)",
            rf"missing (?:an? |the |\d+ )?(?:required |mandatory )?(?:api |access )?(?:{PARAMETERS}|token)\b",
            rf"(?:the )?(?:required )?{PARAMETERS} ['\"]?[\w.-]+['\"]? (?:is|are|was) "
            r"(?:required|missing|mandatory|not \w+)\b",
            r"you (?:are not (?:subscribed|authori[sz]ed|allowed|permitted|logged)|have (?:exceeded|reached)"
            r"|(?:do not|don't) have (?:permission|access|enough|sufficient)|must (?:be logged|log in|provide"
            r"|specify))",
            r"(?:(?:api|daily|monthly|request|your) ){0,4}(?:rate|quota|usage) limit(?:ed\b"
            r"|(?: \w+){0,6}? (?:exceed|reach|hit\b|error)"
            r"|[.!:]?\s*\Z)|rate[ -]limited|too many requests|(?:\w+ )?quota (?:has been )?exceeded",
            r"access (?:is )?denied|permission denied(?! errors?\b)|authentication (?:failed|required|credentials)"
            rf"|(?:login|sign-?in|authorization|api key|access token) (?:is )?(?:required|missing|invalid"
            rf"|expired){_END}",
            r"something went wrong|(?:please )?try again later|timed out\b|network is unreachable"
            r"|database is locked|time-?out[.!]?\Z|(?:session|token|link) (?:has )?expired",
            r"(?:the |this )?(?:service|server|api|endpoint|tool|function)(?: ['\"]?[\w.-]+['\"]?)? (?:(?:is|was) )?"
            r"(?:currently |temporarily )?(?:unavailable|down\b|unreachable|not (?:responding|available|found|exist)"
            r"|does(?:n't| not) exist|under maintenance|failed\b(?! to converge)|timed out|(?:cannot|could not) be)",
            r"(?:the |your )?(?:request|operation|connection|call|execution|read)(?: to [\w./:-]+)? (?:(?:has"
            r"|was) )?"
            r"(?:failed|timed? ?out|refused|rejected|denied|aborted|reset|could not|cannot)\b",
            rf"(?:the |your )?(?:\w+ ){{0,2}}?{_ACTIONS} (?:(?:has|was) )?(?:failed(?! to converge)|timed out"
            r"|was aborted)"
            r"(?=\s*(?:[:.!,(]|\Z)|\s+[-–—]\s| (?:with|due|because|after|for|on|to|while|at)\b)",
            r"(?:failed|unable) to \w+|(?:could not|couldn't|cannot|can't) (?:connect|fetch|get|retrieve|load"
            r"|process"
            r"|parse|find|reach|resolve|execute|complete|access|decode|establish|authenticate|create|send|open|read"
            r"|perform|call|validate|locate|determine|delete|update|write|save|import|convert|divide|verify|identify"
            r"|search|book|cancel|add|remove|set|start|stop)\b",
            r"[^.!?\n]{1,80} (?:is not an? (?:valid|known|supported|recogni[sz]ed)|(?:is|are) not supported[.!]?\Z)",
            r"(?:not|you are not) (?:authenticated|authori[sz]ed|allowed|permitted|logged in|implemented|supported)"
            r"(?:[.!]?\Z|[:,] | (?:to|for)\b)",
            r"(?:process |command )?killed(?:\s*\(|[.!]?\Z)|out of memory\b(?=\s*[:.!(]|\Z)|failed(?:[:!.]|\Z)"
            r"|\d+ validation errors? for"
            r"|no module named|no (?:tool|function) (?:named|called)|\w+\(\) arg\b|(?:card|payment"
            r"|transaction) (?:was |has been )?"
            r"declined|this (?:feature|service|operation|endpoint|tool|action) is (?:currently "
            r"|temporarily )?(?:not|un)\s?\w+",
            r"(?:the )?(?:\w+ )?(?:server|api|service|endpoint|site|url) (?:returned"
            r"|responded with)[^.\n]{0,40}\b[45]\d\d\b"
            r"|(?:received|got) (?:an? )?(?:http )?(?:status|error|response)[^.\n]{0,30}\b[45]\d\d\b"
            r"|error (?:response )?from \w+",
            r"expected [^,\n]{1,60},? (?:but )?(?:got|received|found)\b|['\"][\w.-]{1,60}['\"] is a required"
            rf"|(?:the )?{PARAMETERS}(?: ['\"]?[\w.-]{{1,60}}['\"]?)? must (?:not )?be\b",
            r"(?:the |this |your )?(?:user|account)(?: ['\"]?[\w@.-]{1,60}['\"]?)? (?:is |has been )(?:inactive"
            r"|disabled|locked|suspended"
            r"|blocked|banned|deactivated)|inactive (?:user|account)|not enough (?:permissions?|privileges"
            r"|funds|credits?|memory"
            r"|rights|balance|arguments)",
            r"(?:resource temporarily unavailable|(?:payload|request entity) too large|the system cannot find the)\b"
            r"|(?:the |this |your )?\w+ has been (?:revoked|suspended|blocked)[.!]?\Z",
            r"insufficient (?:funds|permissions?|balance|privileges|quota|credits?|scopes?|storage|memory"
            r"|rights|stock)",
            r"(?:please |you must )(?:provide|specify|enter|supply|use) (?:an? |the |your )?(?:valid|required"
            r"|missing|correct)",
            r"(?-i:['\"`]?[a-z][\w.\[\]-]{0,40}['\"`]?) must (?:not )?be (?:an? |one of|between|greater|less"
            r"|positive|in "
            r"|of type|at (?:least|most)|provided|specified|non-|unique|empty|non)",
            rf"(?!(?:no |any )?(?:results?|match|errors?|problems?)){_ENTITY} (?:(?:was|were|is|are|could"
            rf"|can) ?(?:not|n't)"
            rf"|cannot|not) (?:be )?(?:found|located|recogni[sz]ed)(?: (?:for|with|in|on"
            rf"|at)\b[^.!?\n]{{0,60}})?{_END}",
            rf"{_ENTITY} (?:could not|couldn't|cannot|can't) be \w+,? (?:because|since|as|due to)\b"
            r"|(?:this|the) (?:endpoint|api|service|feature|resource|tool|function|url|page|model|method|version"
            r"|operation|key) (?:(?:has been|is|was) (?:deprecated|retired|removed) and )?is no longer (?:available"
            r"|supported|valid)\b|time-?out: (?:no|the|while|waiting|request|connection|operation|exceeded)\b",
            rf"{_ENTITIES} not found: \S|no such (?!thing|luck)\w+|there is no {_ENTITIES} (?:with|named|called"
            rf"|by that)",
            rf"{_ENTITY} (?:(?:does|do)(?: not|n't) (?:exist|match)|already exists?|is already (?:taken|in use"
            rf"|registered)"
            rf"|(?:could not|couldn't|cannot|can't) be \w+|already registered|(?:is|are) (?:invalid|malformed"
            rf"|out of range|missing|required|not (?:valid|allowed|permitted|registered"
            rf"|accessible)|too (?:long|short|large))|has expired)(?: (?:in|on|for|at)\b[^.!?\n]{{0,60}})?{_END}",
        )
    ),
    re.IGNORECASE,
)
_EXCEPTION = re.compile(
    r"(?:(?:\w+\.){0,20}[A-Z]\w*(?:Error|Exception|Timeout)|KeyboardInterrupt|SystemExit|StopIteration"
    r"|(?:\w+\.){1,20}(?:errors?|exceptions?|exc|errorfactory)\.[A-Z]\w*(?=\s*[:(]))"
    r"\s*(?:\[[A-Z_]{1,60}\])?\s*(?:[:(]|\Z)|[^\n]{0,200}?\b"
    r"Traceback \(most recent call last\):(?=\s*(?:File \"|\Z|\.\.\.)|[ \t]*\n)"
)
# A sentence that says what something is, such as an encyclopedia's first one.
_DEFINITION = re.compile(
    r"[^.:!?\n\"]{1,80}? (?:(?:is|are|was|were) (?:an?|the|one of|another|two|three) "
    r"(?!required|mandatory|missing|invalid|problem|issue|error|failure|server|duplicate|tool that|function that)"
    r"|(?:means|refers to|describes|occurs? (?:when|if)|happens? (?:when|if)|may refer to)\b)",
    re.IGNORECASE,
)
# The sentence around the reason in the feedback of ToolEyes' tools (Table 14).
_EXECUTION = re.compile(r"The function cannot be executed\b(?:.*?for the reason:)?\s*(?P<reason>.*)", re.DOTALL)
_MEASURE = re.compile(
    r"\W*error\W*[-+±~]?\s?\d+(?:\.\d+)?\s?%?\.?\Z|[^\d:：]{1,60}[:：]\s*(?:\d+(?:\.\d+)?\s?%?|none|no|null|nil"
    r"|-)[.。]?\Z",
    re.IGNORECASE,
)
# Warnings that a program prints before it says how it went.
_WARNINGS = re.compile(r"(?:[^\n]{0,80}\bwarning\b[^\n]{0,300}\n\s*){1,5}(?=\S)", re.IGNORECASE)
_HTTP_CODE = re.compile(r"\b[45]\d\d\b(?!\.\d|\s?%)")
_DECORATION = re.compile(r"[^\w\s\"'`<({\[“”《〈「『]{1,8}\s*")  # a bullet, an emoji, marks of Markdown


def stated_error(text: str) -> str | None:
    """Return the category of the error that plain words report; None if they report none.

    Args:
        text: without white space at its ends.
    """
    if reported := _EXECUTION.match(text):
        return kind_or(TOOL_CALL_FAILURE, reported["reason"].strip())
    if _MEASURE.match(text) and not _HTTP_CODE.search(text) and not exit_code(text):
        return None
    if warned := _WARNINGS.match(text):
        text = text[warned.end() :]
    mark = _DECORATION.match(text)
    bare = text[mark.end() :] if mark else text
    code = exit_code(bare)
    if code is not None:
        return kind_or(TOOL_CALL_FAILURE, bare) if code else None
    if _EXCEPTION.match(bare) or reports_crash(bare) or reports_program_error(bare):
        return kind_or(TOOL_CALL_FAILURE, bare)
    bare = re.sub(r"[*`]{1,3}", "", bare[:200]) + bare[200:]
    if (_BEGINNINGS.match(bare) and not _DEFINITION.match(bare)) or stated_elsewhere(bare):
        return kind_or(TOOL_INSTABILITY if _HTTP_CODE.search(bare[:200]) else OTHERS, bare)
    return None
