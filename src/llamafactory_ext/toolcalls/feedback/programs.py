"""What programs leave behind when they fail: messages of shells and commands, exit codes, tracebacks."""

from __future__ import annotations

import re

_LONGEST_LINE = 500

# What comes last in a command's message: texts of strerror (POSIX), and what shells say of commands.
_REASONS = (
    r"(?:command not found|no such (?:file|device|process|command|container|host|user)|permission denied"
    r"|is a directory|not a directory|file exists|operation not permitted|connection (?:refused|timed out|reset"
    r"|closed)"
    r"|no space left|read-only file system|broken pipe|directory not empty|too many open files"
    r"|invalid (?:option|argument)"
    r"|argument list too long|device or resource busy|input/output error|cannot allocate memory|no route to host"
    r"|network is unreachable|name or service not known|temporary failure in name|exec format error"
    r"|unrecogni[sz]ed option"
    r"|illegal option|unknown option|missing (?:file |destination file |argument)?operand|bad (?:file descriptor"
    r"|interpreter|substitution)|syntax error (?:near|at)|text file busy|unable to resolve|could not resolve"
    r"|segmentation fault|option requires an argument|extra operand|unexpected (?:token|end of file)"
    r"|unbound variable)"
)
_ATTEMPTS = (
    r"(?:(?:cannot|can't|could not|couldn't|unable to|failed to) (?:access|open|remove|stat|create|touch|move"
    r"|copy|find"
    r"|read|write|cd|change|execute|exec|resolve|connect|lock|overwrite|unlink|set|load|locate|stage|fork"
    r"|delete|mount)"
    r"|(?:fatal )?error\b|fatal: |no rule to make|\*\*\* |unknown (?:command|user|option|host)"
    r"|connect to (?:host|address)"
    r"|invalid (?:option|user)|unrecogni[sz]ed (?:option|argument|command)|no matches found|a password is required)"
)
_PROGRAM = r"(?-i:-?[a-z/~.][\w./+~-]{0,60}(?: \(\w{1,20}\))?|[A-Z]:\\[^:\n]{1,80}|[A-Z]\w*-\w+ ?)"
# `program: [what it was doing: ...] reason`
_MESSAGE = re.compile(
    rf"{_PROGRAM}(?:\[\d+\])?: (?:(?:[^\n]{{0,300}}?(?:: ?| - ))?['\"]?{_REASONS}|{_ATTEMPTS})", re.IGNORECASE
)
_OWN_WORDS = re.compile(
    r"curl: \(\d{1,3}\) |(?-i:[\w./-]{1,100}:\d+(?::\d+)?: (?:fatal )?error: )"
    r"|(?:\(node:\d+\) )?unhandled ?promise"
    r"|error\[E\d+\]: |error (?-i:[A-Z]{1,5}\d{2,6}): |fatal: \S|npm (?:err!|error) |(?-i:E): (?:unable|could|failed"
    r"|package)|(?-i:panic): \S"
    r"|(?:[\w/]*/)?-?(?:bash|dash|ksh|zsh|fish|ash|sh): (?:[^\n]{1,200}: )?(?:not found|syntax error"
    r"|command not found"
    r"|no such|permission denied|unknown command|no matches found)"
    r"|[^\n]{1,200}? : the term '[^'\n]{1,100}' is not recogni[sz]ed"
    r"|'[^'\n]{1,100}' is not recogni[sz]ed as an internal"
    r"|git: '[\w-]+' is not a git command|segmentation fault\b|no such (?:table|column|module|container|image):"
    r"|command '[^\n]{1,300}' (?:returned non-zero|timed out|failed|died)|ORA-\d{5}|SQLSTATE\[(?!00)"
    r"|near \"[^\"\n]{1,60}\": syntax error|unhandled exception|uncaught (?:\(in promise\) )?\w*error"
    r"|php fatal error"
    r"|\[errno \d+\]|\w+: command not found\b|command not found: ",
    re.IGNORECASE,
)
_EXIT = re.compile(
    r"[\[(]?(?:(?:process|command|program|script|the|shell) )?(?:exit|return)[ _-]?(?:code|status"
    r"|value)(?: (?:is|was))?"
    r"\s*[:=]?\s*(?P<stated>-?\d{1,10})\b"
    r"|[\[(]?(?:(?:the )?(?:command|process|program|script|shell|subprocess|job|container|execution|build"
    r"|it)\b[^\n]{0,80}? )?"
    r"(?:failed|exited|finished|terminated|died|ended)(?: with)?(?: an?)?(?: non-?zero)?(?: exit| return)?[ _-]?"
    r"(?:code|status|value)(?: (?:code|of))?\s*[:=]?\s*(?P<told>-?\d{1,10})\b",
    re.IGNORECASE,
)
_USAGE = re.compile(r"usage: [^\0]{0,4000}?\n[^\n:]{1,60}: error: ", re.IGNORECASE)
_LAST_WORDS = re.compile(
    r"fatal: \S|exit status [1-9]\d*\Z|npm (?:err!|error) |[^\n]{0,200}: command not found\Z|segmentation fault"
    r"|make(?:\[\d+\])?: \*\*\* |error \d+ \(|\[?\(?(?:process |command )?(?:exited with |exit )(?:code"
    r"|status):? [1-9]\d*[\])]?\Z",
    re.IGNORECASE,
)

_FRAMES = re.compile(
    # Python, JavaScript, Java and Kotlin, Go, Rust, C#, Ruby
    r"^Traceback \(most recent call last\):\s*$|^\s*File \"[^\"\n]{1,200}\", line \d+\b"
    r"|^\s*at [^\n]{1,200}:\d+:\d+\)?\s*\n\s*at "
    r"|^(?:Uncaught |Unhandled )?(?:[\w$.]{1,200}(?:Error|Exception)"
    r"|Error)\b[^\n]{0,500}\n(?:[^\n]{0,500}\n){0,4}?\s+at "
    r"|^Exception in thread \"|^Caused by: [\w.$]{1,200}(?:Error|Exception)\b"
    r"|^panic: [^\n]{0,500}\n(?:[^\n]{0,500}\n){0,4}?\s*goroutine \d+ \[|^fatal error: [^\n]{0,500}\n\s*goroutine "
    r"|^goroutine \d+ \[\w[^\]\n]{0,60}\]:$"
    r"|^thread '[^'\n]{0,100}' (?:\(\d+\) )?panicked at |^Unhandled exception\. |^PHP Fatal error: "
    r"|^[^\s:]{1,200}\.rb:\d+:in [`'][^'\n]{0,100}': ",
    re.MULTILINE,
)
_OUTCOME = re.compile(
    r"(?:[\w$]+\.){0,20}[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Iteration|Warning)\b|exit status [1-9]"
    r"|\s*(?:at |\.\.\. \d+ more|\S+\.go:\d+)|Node\.js v|note: "
)
_OF_A_LOG = re.compile(r"\b\d\d:\d\d\b|\b(?:ERROR|INFO|WARN|WARNING|DEBUG)\b")
_NEAR = 4_000  # characters at both ends of a long output in which a crash is looked for


def exit_code(text: str) -> int | None:
    """Return the exit code that a text begins with, in words; None if it begins with none."""
    found = _EXIT.match(text[:_LONGEST_LINE])
    return None if found is None else int(found["stated"] or found["told"])


def reports_program_error(text: str) -> bool:
    """Tell whether a text is what a shell or a command says when it fails, in its first line or its last."""
    head, _, rest = text[:_NEAR].partition("\n")
    head = head[:_LONGEST_LINE]
    if _OWN_WORDS.match(head) or _MESSAGE.match(head) or _USAGE.match(text[:_NEAR]):
        return True
    return bool(rest) and _LAST_WORDS.match(_last_line(text)) is not None


def reports_crash(text: str) -> bool:
    """Tell whether a text is, or ends with, what an interpreter prints of an uncaught exception.

    A page or a log that quotes a traceback has times or levels before it, or goes on after it.
    """
    found = _FRAMES.search(text[:_NEAR]) or (_FRAMES.search(text[-_NEAR:]) if len(text) > _NEAR else None)
    if found is None:
        return False
    before = found.string[: found.start()].strip()
    if not before and len(text) <= 2 * _NEAR:
        return True
    return _OF_A_LOG.search(before) is None and _OUTCOME.match(_last_line(text)) is not None


def _last_line(text: str) -> str:
    """Return the last line with its indentation."""
    end = text.rstrip()
    return end[end.rfind("\n") + 1 :][:_LONGEST_LINE]
