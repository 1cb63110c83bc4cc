r"""Read the final answer of a chat reply: a number, or a few words.

What is marked as the answer counts, the last mark of the strongest kind: `\boxed{...}` and "####", then "answer is" or
"Answer:", then a number in bold, then the last number. Thoughts count for nothing.
"""

from __future__ import annotations

import re
import unicodedata

from ..thoughts import final_text

_ANSWER = re.compile(
    r"\banswer(?:\s+to\s[^.:\n]{0,80}?)?\s*(?:\*\*)?\s*(?::|=|\b(?:is|are|was|would be|will be)\b)\s*(?:\*\*|__)?:?",
    re.IGNORECASE,
)
_BOLD = re.compile(r"\*\*(?!\s)([^*\n]+?)(?<!\s)\*\*|__(?!\s)([^_\n]+?)(?<!\s)__")
_HEADING = re.compile(r":\s*$|^\W*(?:step|part|question|example|case|day|option|problem)\b", re.IGNORECASE)
_THIN = "\u00a0\u2006\u2007\u2008\u2009\u200a\u202f\u205f"
_GROUPS = rf"\d{{1,3}}(?:(?:[,'’´`{_THIN}]|\{{,\}}|\\,|\\!,?|\\ )\d{{3}})+|\d{{1,2}}(?:,\d{{2}})+,\d{{3}}"
_SPACED = r"\d{1,3}(?: \d{3})+"
_TAIL = r"(?:\.\d+)?(?:[eE][+-]?\d{1,3}|[kK]\b|\s*(?:\\times|\\cdot|[x×*])\s*10\s*\^\s*\{?[+-]?\d{1,3}\}?)?"
_UNITS = re.compile(r"\\?[$€£¥]|\\(?:text|mathrm|textbf|mathbf)(?=\{)|\b(?:USD|EUR|GBP)\s*(?=\d)")
_POWER = re.compile(r"\s*(?:\\times|\\cdot|[x×*])\s*10\s*\^\s*\{?([+-]?\d+)\}?$")
_BOXED = re.compile(r"\\f?boxed\s*(\{)?")
_LONGEST, _MARKS = 500, 20  # characters that a marked answer may take, and marks that are looked at
_WORDS_END = re.compile(r"(?<=[^\s.])[.!?](?:\s|$)|\n")


_EXPONENT = r"(?<!\^)(?<!\^-)(?<!\^\{)(?<!\^\{-)"  # what stands behind "^" is no number of its own
_NUMBER = re.compile(
    rf"{_EXPONENT}(?:(?<![\d.,])(?:-[{_THIN}]?)?(?:(?:{_GROUPS}|{_SPACED})(?!\d)|\d+){_TAIL}|(?<!\d)-?\d+{_TAIL}|(?<![\d.])-?\.\d+)"
)
_OTHER = re.compile(r"[^\x00-\x7f]")
_RAISED = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_FRACTION = re.compile(r"(?<=\d) ?([¼-¾⅐-⅞])")
_FOLDED = ("<wide>", "<narrow>", "<small>", "<font>")  # Unicode's words for other shapes of the same character
_LABEL = re.compile(r"\d+[.):]\s+\S")
# Reckoning in brackets beside an answer, such as "(35% of 200)"; not the brackets of LaTeX.
_ASIDE = re.compile(r"(?<!\\)\([^()\n]*[%=+*/×][^()\n]*(?<!\\)\)")


def final_number(reply: str) -> float | None:
    """Return the number that a reply gives as its answer; None if it holds none."""
    text = _folded(final_text(reply))
    for segment in _marked(text):
        said = _first_number(segment)
        if said is not None:
            return said
    found = [number for span in _bold(text) if not _HEADING.search(span) for number in _numbers(span)]
    if found:
        return found[-1]
    numbers = _numbers(_ASIDE.sub(" ", text)) or _numbers(text)
    return numbers[-1] if numbers else None


def short_answers(reply: str) -> list[str]:
    """Return the words that a reply gives as its answer: as they stand, up to the sentence's end, and what is bold."""
    text = final_text(reply).strip()
    boxed = _boxed(text)
    if boxed:
        return [_undressed(boxed[1])]
    lines = [line for line in text.splitlines() if line.strip()]
    line = next((line for line in lines if _ANSWER.search(line)), lines[0] if lines else "")
    mark = _ANSWER.search(line)
    said = line[mark.end() :] if mark else line.removeprefix("####")
    if mark and not said.strip(" *_:") and line in lines[:-1]:
        said = lines[lines.index(line) + 1]
    end = _WORDS_END.search(said)
    found = [said, said[: end.start()] if end else said, *_bold(said)[:1]]
    return list(dict.fromkeys(_undressed(words) for words in found))


def _undressed(words: str) -> str:
    words = re.sub(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}", r"\1", words)
    return words.replace("**", "").replace("__", " ").strip().strip("`\"'“”‘’#:")


def _folded(text: str) -> str:
    """Return a text with plain digits and signs: other shapes of them are folded, thin blanks kept.

    Raised digits are an exponent, lowered ones and those in circles no digits, and fractions are decimals.
    """
    text = _RAISED.sub(lambda raised: f"^{unicodedata.normalize('NFKC', raised[0])}", text)
    text = _FRACTION.sub(lambda found: _decimals(found[1]), text)
    text = _OTHER.sub(lambda other: _plain(other[0]), text)
    return _UNITS.sub("", text.replace("−", "-").replace("–", "-"))


def _plain(char: str) -> str:
    shape = unicodedata.decomposition(char).partition(" ")[0]
    if shape == "<fraction>":
        return _decimals(char)
    folded = unicodedata.normalize("NFKC", char)
    return folded if shape in _FOLDED or (folded == " " and char not in _THIN) else char


def _decimals(fraction: str) -> str:
    return f"{unicodedata.numeric(fraction)}".removeprefix("0")


def _marked(text: str) -> list[str]:
    """Return the parts that are marked as the answer, the ones to try first at the front."""
    boxed = _boxed(text)
    strong = [boxed] if boxed else []
    places = [mark.end() for mark in re.finditer("####", text)][-_MARKS:]
    for place in places:
        segment = text[place : place + _LONGEST]
        if place != places[-1]:  # it counts where the last one has no number, and unless it is a heading
            segment = segment.partition("\n")[0].strip(" *_$#")
            if _NUMBER.match(segment) is None or _LABEL.match(segment) is not None:
                continue
        strong.append((place, segment))
    weak = list(_ANSWER.finditer(text))
    return [
        *(segment for _, segment in sorted(strong, reverse=True)),
        *(text[mark.end() : mark.end() + _LONGEST].lstrip() for mark in weak[: -_MARKS - 1 : -1]),
    ]


def _boxed(text: str) -> tuple[int, str] | None:
    r"""Return the place and content of the last `\boxed{...}`, braces balanced; all that follows if it has no end."""
    marks = list(_BOXED.finditer(text))
    if not marks:
        return None
    mark, rest = marks[-1], text[marks[-1].end() :]
    if not mark[1]:
        return mark.start(), rest.partition(" ")[0]
    depth = 1
    for place, char in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if not depth:
            return mark.start(), rest[:place]
    return mark.start(), rest


def _bold(text: str) -> list[str]:
    return [mark[1] or mark[2] for mark in _BOLD.finditer(text)]


def _first_number(segment: str) -> float | None:
    """Return the first number of a marked part; of an equation in its first sentence the one after the last "="."""
    sentence = re.split(r"\n|(?<!\d)\.\s|(?<=\d)\.(?:\s|$)", segment.strip(), maxsplit=1)[0]
    for part in (sentence.rpartition("=")[2], sentence, segment):
        numbers = _numbers(part)
        if numbers:
            return numbers[0]
    return None


def _numbers(text: str) -> list[float]:
    return [_value(found[0]) for found in _NUMBER.finditer(text)]


def _value(written: str) -> float:
    power = _POWER.search(written)
    digits = re.sub(rf"[\s,'’´`{_THIN}{{}}\\!]", "", written[: power.start()] if power else written)
    digits = f"{digits[:-1]}e3" if digits[-1] in "kK" else digits
    return float(f"{digits}e{power[1]}" if power else digits)
