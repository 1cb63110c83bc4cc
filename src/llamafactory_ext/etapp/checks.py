"""What must have happened in a case, decided without a model.

A check file of a case has these parts, all optional:

| part | holds if |
|---|---|
| require | each pattern fits an effect of its own (a maximum matching) |
| any | in each list, one pattern fits an effect |
| forbid | no pattern fits an effect |
| reads | each tool has answered |
| order | of each pair, the first tool has answered before the second |
| differ | the effects of a tool have so many different values of an argument |
| spend | what was put into the cart costs no more |
| answer | the answer, without thoughts, has, or lacks, values |
| state | the state ends with these values, by path |
| allow | tools or patterns whose effects are no collateral damage |

A pattern is `{"tool": NAME, "args": {NAME: VALUE}}`. A value is a literal (numbers by value, texts in any case), or
`{"slot": NAME}` (what this user likes; of a list one is enough), `{"slot": NAME, "plus": [LOW, HIGH]}`,
`{"between": [LOW, HIGH]}`, `{"after": VALUE}`, `{"any": [VALUES]}` or `{"not": VALUE}`.

Conditions that name a slot are personal, the others belong to the task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DataError
from ..metrics.thoughts import spoken
from .world import Change, World

Slots = Mapping[str, Any]
PARTS = ("require", "any", "forbid", "reads", "order", "differ", "spend", "answer", "state", "allow")


@dataclass(frozen=True)
class Condition:
    """One thing that was checked.

    Attributes:
        about: what it is, for people.
        personal: it depends on what the user likes.
        holds: whether it does.
    """

    about: str
    personal: bool
    holds: bool


@dataclass(frozen=True)
class Outcome:
    """What the checks of a case say.

    Attributes:
        conditions: all of them.
        collateral: effects that nobody asked for.
    """

    conditions: tuple[Condition, ...]
    collateral: tuple[Mapping[str, Any], ...]

    @property
    def success(self) -> bool:
        """Every condition holds."""
        return all(one.holds for one in self.conditions)

    @property
    def partial(self) -> float:
        """The share of conditions that hold."""
        return sum(one.holds for one in self.conditions) / len(self.conditions)

    def part(self, personal: bool) -> bool | None:
        """Tell whether all personal conditions, or all of the task, hold; None where there are none."""
        chosen = [one.holds for one in self.conditions if one.personal == personal]
        return all(chosen) if chosen else None


@dataclass(frozen=True)
class Deeds:
    """What an agent has done.

    Attributes:
        calls: as the sandbox logged them.
        answer: its last words; thoughts in them are not looked at.
        changes: of the state.
        world: at the start, for prices.
    """

    calls: Sequence[Mapping[str, Any]]
    answer: str
    changes: Sequence[Change | Sequence[Any]]
    world: World

    @property
    def effects(self) -> list[Mapping[str, Any]]:
        """All effects, in order."""
        return [call["effect"] for call in self.calls if call.get("effect")]

    @property
    def answered(self) -> list[str]:
        """The tools that gave a result, in order."""
        return [call["name"] for call in self.calls if call.get("failed") is None]


def check(checks: Mapping[str, Any], slots: Slots, deeds: Deeds) -> Outcome:
    """Check a case.

    Raises:
        DataError: the checks name a part or a slot that is not there.
    """
    if unknown := checks.keys() - set(PARTS):
        raise DataError(f"the checks have an unknown part {sorted(unknown)[0]!r}; the parts are {', '.join(PARTS)}.")
    effects = deeds.effects
    patterns = list(checks.get("require", ()))
    matched = _matching(patterns, effects, slots)
    conditions = [
        Condition(f"require {_shown(pattern, slots)}", _has_slot(pattern), place in matched)
        for place, pattern in enumerate(patterns)
    ]
    for part, judge in _JUDGES.items():
        if part in checks:
            conditions += judge(checks[part], slots, deeds)
    if not conditions:
        raise DataError("the checks hold no condition; write at least one.")
    return Outcome(tuple(conditions), _collateral(checks, set(matched.values()), effects, slots))


def _collateral(
    checks: Mapping[str, Any], used: set[int], effects: Sequence[Mapping[str, Any]], slots: Slots
) -> tuple[Mapping[str, Any], ...]:
    allowed = [{"tool": one} if isinstance(one, str) else one for one in checks.get("allow", ())]
    allowed += [pattern for several in checks.get("any", ()) for pattern in several]
    left = [effect for place, effect in enumerate(effects) if place not in used]
    return tuple(effect for effect in left if not any(fits(pattern, effect, slots) for pattern in allowed))


def _any(parts: Any, slots: Slots, deeds: Deeds) -> Iterable[Condition]:
    for several in parts:
        holds = any(fits(pattern, effect, slots) for pattern in several for effect in deeds.effects)
        yield Condition(
            "any of " + " or ".join(_shown(one, slots) for one in several), any(map(_has_slot, several)), holds
        )


def _forbid(parts: Any, slots: Slots, deeds: Deeds) -> Iterable[Condition]:
    for pattern in parts:
        holds = not any(fits(pattern, effect, slots) for effect in deeds.effects)
        yield Condition(f"forbid {_shown(pattern, slots)}", _has_slot(pattern), holds)


def _reads(parts: Any, slots: Slots, deeds: Deeds) -> Iterable[Condition]:
    for name in parts:
        yield Condition(f"reads {name}", False, name in deeds.answered)


def _order(parts: Any, slots: Slots, deeds: Deeds) -> Iterable[Condition]:
    names = deeds.answered
    for first, second in parts:
        holds = first in names and second in names and names.index(first) < names.index(second)
        yield Condition(f"{first} before {second}", False, holds)


def _differ(part: Any, slots: Slots, deeds: Deeds) -> Iterable[Condition]:
    values = {str(e["args"].get(part["arg"])) for e in deeds.effects if e["tool"] == part["tool"]}
    yield Condition(f"{part['n']} different {part['arg']}", False, len(values) == part["n"])


def _spend(part: Any, slots: Slots, deeds: Deeds) -> Iterable[Condition]:
    prices = {row["asin"]: row["product_price"] for row in deeds.world.shared.products}
    bought = [effect["args"] for effect in deeds.effects if effect["tool"] == "add_product_to_cart"]
    cost = sum(prices.get(line["product_id"], 0) * line["quantity"] for line in bought)
    most = _resolved(part, slots)
    yield Condition(f"spends at most {most}", _has_slot(part), bool(bought) and cost <= most)


def _answer(part: Any, slots: Slots, deeds: Deeds) -> Iterable[Condition]:
    answer = spoken(deeds.answer)  # what a model only thinks, it does not say
    for kind in ("has", "lacks"):
        for value in part.get(kind, ()):
            resolved = _resolved(value, slots)
            texts = resolved if isinstance(resolved, list) else [resolved]
            said = any(_says(answer, str(text)) for text in texts)
            # An empty answer lacks everything, and says nothing.
            holds = said if kind == "has" else bool(answer.strip()) and not said
            yield Condition(f"the answer {kind} {_shown(value, slots)}", _has_slot(value), holds)


def _state(part: Any, slots: Slots, deeds: Deeds) -> Iterable[Condition]:
    ends = {str(change[0]): change[2] for change in deeds.changes}
    for path, value in part.items():
        holds = path in ends and value_fits(value, ends[path], slots)
        yield Condition(f"{path} ends as {_shown(value, slots)}", _has_slot(value), holds)


_JUDGES: Mapping[str, Callable[[Any, Slots, Deeds], Iterable[Condition]]] = {
    "any": _any,
    "forbid": _forbid,
    "reads": _reads,
    "order": _order,
    "differ": _differ,
    "spend": _spend,
    "answer": _answer,
    "state": _state,
}


def _says(answer: str, text: str) -> bool:
    words = re.escape(" ".join(text.split())).replace(r"\ ", r"\s+")
    return re.search(rf"(?<!\w){words}(?!\w)", answer, re.IGNORECASE) is not None


def fits(pattern: Mapping[str, Any], effect: Mapping[str, Any], slots: Slots) -> bool:
    """Tell whether an effect is what a pattern asks for."""
    if pattern["tool"] != effect["tool"]:
        return False
    given = effect["args"]
    return all(
        name in given and value_fits(value, given[name], slots) for name, value in pattern.get("args", {}).items()
    )


def value_fits(wanted: Any, value: Any, slots: Slots) -> bool:
    """Tell whether a value is the wanted one."""
    if isinstance(wanted, Mapping):
        if "not" in wanted:
            return not value_fits(wanted["not"], value, slots)
        if "any" in wanted:
            return any(value_fits(one, value, slots) for one in wanted["any"])
        if "between" in wanted:
            low, high = (_resolved(one, slots) for one in wanted["between"])
            return _ordered(low, value) and _ordered(value, high)
        if "after" in wanted:
            bound = _resolved(wanted["after"], slots)
            return _ordered(bound, value) and bound != value
        if "plus" in wanted:
            base, (low, high) = _resolved({"slot": wanted["slot"]}, slots), wanted["plus"]
            return _ordered(base + low, value) and _ordered(value, base + high)
        resolved = _resolved(wanted, slots)
        if isinstance(resolved, list) and not isinstance(value, list):
            return any(value_fits(one, value, slots) for one in resolved)
        return value_fits(resolved, value, slots)
    if isinstance(wanted, list):
        is_same = isinstance(value, list) and len(value) == len(wanted)
        return is_same and all(value_fits(a, b, slots) for a, b in zip(wanted, value, strict=True))
    if isinstance(wanted, str) and isinstance(value, str):
        return wanted.strip().casefold() == value.strip().casefold()
    return bool(wanted == value) and isinstance(wanted, bool) == isinstance(value, bool)


def _ordered(low: Any, high: Any) -> bool:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (low, high))
    if numbers or (isinstance(low, str) and isinstance(high, str)):
        return bool(low <= high)
    return False


def _resolved(value: Any, slots: Slots) -> Any:
    """Return the value that a slot holds; others as they are.

    Raises:
        DataError: this user has no such slot.
    """
    if not (isinstance(value, Mapping) and value.keys() == {"slot"}):
        return value
    if value["slot"] not in slots:
        raise DataError(f"the checks name a slot {value['slot']!r} that the user does not have.")
    return slots[value["slot"]]


def _has_slot(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "slot" in value or any(map(_has_slot, value.values()))
    return isinstance(value, list) and any(map(_has_slot, value))


def _matching(patterns: Sequence[Any], effects: Sequence[Any], slots: Slots) -> dict[int, int]:
    """Return the largest assignment of patterns to effects, each to one, by augmenting paths: pattern to effect."""
    taken: dict[int, int] = {}

    def place(pattern: int, tried: set[int]) -> bool:
        for number, effect in enumerate(effects):
            if number in tried or not fits(patterns[pattern], effect, slots):
                continue
            tried.add(number)
            if number not in taken or place(taken[number], tried):
                taken[number] = pattern
                return True
        return False

    for number in range(len(patterns)):
        place(number, set())
    return {pattern: effect for effect, pattern in taken.items()}


def _shown(value: Any, slots: Slots) -> str:
    """Return a pattern or a value in words; of a slot what this user likes, with its name."""
    if isinstance(value, list | tuple):
        return " or ".join(_shown(one, slots) for one in value)
    if not isinstance(value, Mapping):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if "tool" in value:
        arguments = ", ".join(f"{name}={_shown(one, slots)}" for name, one in value.get("args", {}).items())
        return f"{value['tool']}({arguments})"
    if "slot" in value:
        liked = _shown(_resolved({"slot": value["slot"]}, slots), slots)
        low, high = value.get("plus", (0, 0))
        more = f" {low:+g} to {high:+g}" if "plus" in value else ""
        return f"{liked}{more} [{value['slot']}]"
    if "between" in value:
        return " to ".join(_shown(one, slots) for one in value["between"])
    words = {"not": "other than", "any": "one of", "after": "after"}
    return ", ".join(f"{words.get(name, name)} {_shown(one, slots)}" for name, one in value.items())
