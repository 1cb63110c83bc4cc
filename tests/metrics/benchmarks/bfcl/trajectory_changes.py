"""Trajectories made of gold calls by changes of many kinds, several at a time, the same for one seed."""

import copy
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Call = tuple[str, dict[str, Any]]
Step = list[Call]


@dataclass
class Draft:
    """A trajectory in the making.

    Attributes:
        turns: calls by turn and step.
        others: calls of other tasks, to borrow.
        methods: names of the task's functions.
        said: texts by (turn, step) that replace the step.
        whole: replaces the whole result, if given.
    """

    turns: list[list[Step]]
    others: Sequence[Call]
    methods: Sequence[str]
    rng: random.Random
    said: dict[tuple[int, int], Any] = field(default_factory=dict)
    positional: bool = False
    fence: str = ""
    whole: list[Any] = field(default_factory=list)

    def steps(self) -> list[Step]:
        return [step for turn in self.turns for step in turn if step]

    def step(self) -> Step:
        """A random step with calls, or one that is thrown away."""
        return self.rng.choice(self.steps() or [[]])

    def turn(self) -> list[Step]:
        return self.rng.choice(self.turns) if self.turns else []

    def call(self) -> Call:
        return self.rng.choice([call for step in self.steps() for call in step] or [("f", {})])

    def argument(self, *kinds: type) -> tuple[dict[str, Any], str]:
        """A random argument, of these types if any are given."""
        places = [
            (given, key)
            for step in self.steps()
            for _, given in step
            for key, value in given.items()
            if not kinds or type(value) in kinds
        ]
        return self.rng.choice(places) if places else ({"none": 0}, "none")


Change = Callable[[Draft], Any]


def on(*kinds: type) -> Callable[[Callable[[Any, Draft], Any]], Change]:
    """Make of a function of a value a change of one argument."""

    def change_of(function: Callable[[Any, Draft], Any]) -> Change:
        def change(draft: Draft) -> None:
            arguments, key = draft.argument(*kinds)
            if not kinds or type(arguments[key]) in kinds:
                arguments[key] = function(arguments[key], draft)

        return change

    return change_of


def _swapped(draft: Draft) -> None:
    _, arguments = draft.call()
    if len(arguments) > 1:
        one, other = draft.rng.sample(sorted(arguments), 2)
        arguments[one], arguments[other] = arguments[other], arguments[one]


def _replaced(draft: Draft, make: Callable[[Call], Call]) -> None:
    step = draft.step()
    if step:
        place = draft.rng.randrange(len(step))
        step[place] = make(step[place])


def _inserted(draft: Draft, call: Call) -> None:
    step = draft.step()
    step.insert(draft.rng.randint(0, len(step)), copy.deepcopy(call))


def _moved(draft: Draft, by: int) -> None:
    place = draft.rng.randrange(len(draft.turns))
    if draft.turns[place] and draft.turns[place][-1]:
        call = draft.turns[place][-1].pop()
        target = draft.turns[(place + by) % len(draft.turns)]
        target.append([call]) if by < 0 else target.insert(0, [call])


def _where_nothing_is_wanted(draft: Draft) -> None:
    """Put a call into a turn without one: the user's wish cannot be met there."""
    for turn in draft.turns:
        if not any(turn):
            turn.append([copy.deepcopy(draft.rng.choice(draft.others))])


def _reordered_turns(draft: Draft) -> None:
    draft.rng.shuffle(draft.turns)


def _said(text: Any) -> Change:
    def change(draft: Draft) -> None:
        turn = draft.rng.randrange(len(draft.turns))
        draft.said[turn, draft.rng.randint(0, len(draft.turns[turn]))] = text

    return change


def _set(name: str, value: Any) -> Change:
    return lambda draft: setattr(draft, name, value)


CHANGES: Mapping[str, Change] = {
    "a dropped call": lambda d: [step.pop(d.rng.randrange(len(step))) for step in [d.step()] if step],
    "a dropped last call": lambda d: [step.pop() for step in d.steps()[-1:]],
    "a turn without calls": lambda d: d.turn().clear(),
    "all turns without calls": lambda d: [turn.clear() for turn in d.turns],
    "a call twice": lambda d: _inserted(d, d.call()),
    "a call of another task": lambda d: _inserted(d, d.rng.choice(d.others)),
    "a call without arguments": lambda d: _inserted(d, (d.rng.choice(d.methods), {})),
    "an unknown function": lambda d: _replaced(d, lambda call: (f"{call[0]}_x", call[1])),
    "a function that is refused": lambda d: _inserted(d, ("kill", {})),
    "a private function": lambda d: _inserted(d, ("_load_scenario", {"scenario": {"a": 1}})),
    "a class before the function": lambda d: _replaced(d, lambda call: (f"GorillaFileSystem.{call[0]}", call[1])),
    "another function": lambda d: _replaced(d, lambda call: (d.rng.choice(d.methods), call[1])),
    "reordered calls": lambda d: d.rng.shuffle(d.step()),
    "reordered turns": _reordered_turns,
    "a call a turn later": lambda d: _moved(d, 1),
    "a call a turn earlier": lambda d: _moved(d, -1),
    "calls where nothing is wanted": _where_nothing_is_wanted,
    "a step of its own for each call": lambda d: [
        turn.__setitem__(slice(None), [[call] for step in turn for call in step]) for turn in d.turns
    ],
    "an empty step": lambda d: d.turn().insert(0, []),
    "one turn less": lambda d: d.turns.pop() if len(d.turns) > 1 else None,
    "one turn more": lambda d: d.turns.append([[copy.deepcopy(d.call())]]),
    "no list": _set("whole", ["Error during inference"]),
    "a text as a step": _said("I am done with that."),
    "an empty text as a step": _said(""),
    "half a call as a step": _said("[cd(folder='a'"),
    "a list of texts as a step": _said("['a', 'b']"),
    "null as a step": _said(None),
    "an empty list of calls": _said("[]"),
    "swapped arguments": _swapped,
    "a dropped argument": lambda d: [given.pop(key) for given, key in [d.argument()]],
    "a renamed argument": lambda d: [given.update({f"{key}_x": given.pop(key)}) for given, key in [d.argument()]],
    "an argument more": lambda d: d.call()[1].update(more=1),
    "a bad name of an argument": lambda d: d.call()[1].update({"no name": 1}),
    "another text": on(str)(lambda v, d: v + "x"),
    "an empty text": on(str)(lambda v, d: ""),
    "upper case": on(str)(lambda v, d: v.upper()),
    "blanks around a text": on(str)(lambda v, d: f" {v} "),
    "a text with quotes": on(str)(lambda v, d: f"'{v}\"\n\\"),
    "a text with a call": on(str)(lambda v, d: f"{v} {d.rng.choice(d.methods)}(1)"),
    "a text as a number": on(str)(lambda v, d: 7),
    "a number as a text": on(int, float)(lambda v, d: str(v)),
    "another number": on(int, float)(lambda v, d: v + 1),
    "a negative number": on(int, float)(lambda v, d: -v),
    "an integer as a float": on(int)(lambda v, d: float(v)),
    "a float as an integer": on(float)(lambda v, d: int(v)),
    "a huge number": on(int, float)(lambda v, d: 10**40),
    "another truth value": on(bool)(lambda v, d: not v),
    "a truth value as a text": on(bool)(lambda v, d: str(v).lower()),
    "null": on()(lambda v, d: None),
    "a list around a value": on()(lambda v, d: [v]),
    "a reversed list": on(list)(lambda v, d: v[::-1]),
    "an empty list": on(list)(lambda v, d: []),
    "an empty object": on()(lambda v, d: {}),
    "an object": on()(lambda v, d: {"k": v}),
    "a call as a value": on()(lambda v, d: {d.rng.choice(d.methods): {}}),
    "a call of a text as a value": on(str)(lambda v, d: {d.rng.choice(d.methods): {"folder": {"x": v}, "y": {}}}),
    "arguments by position": _set("positional", True),
    "a code fence": _set("fence", "```"),
    "quotes around the calls": _set("fence", "'"),
    "a line break around the calls": _set("fence", "\n"),
}


@dataclass(frozen=True)
class Changed:
    result: Any
    kinds: tuple[str, ...]
    calls: bool


def changed(
    gold: Sequence[Sequence[Call]], others: Sequence[Call], methods: Sequence[str], number: int, seed: int
) -> Changed:
    """A result of a model: the gold calls with up to three changes; none for one of twenty."""
    rng = random.Random(f"{seed}/{number}")
    turns = [[list(copy.deepcopy(calls))] if calls else [] for calls in gold]
    draft = Draft(turns, others, methods, rng)
    names = list(CHANGES)
    kinds: list[str] = []
    if number % 20:
        kinds = [names[(number + seed * 7) % len(names)], *rng.sample(names, rng.randint(0, 2))]
    for kind in kinds:
        CHANGES[kind](draft)
    form = rng.choice(("text", "objects", "json"))
    return Changed(written(draft, form), tuple(kinds), form != "text")


def written(draft: Draft, form: str) -> Any:
    if draft.whole:
        return draft.whole[0]
    result = []
    for number, turn in enumerate(draft.turns):
        steps: list[Any] = [_step(step, form, draft) for step in turn]
        for (place, where), text in draft.said.items():
            if place == number:
                steps.insert(min(where, len(steps)), text)
        result.append(steps)
    return result


def _step(step: Step, form: str, draft: Draft) -> Any:
    if form == "objects":
        return [{name: arguments} for name, arguments in step]
    if form == "json":
        return [{name: json.dumps(arguments)} for name, arguments in step]
    text = ", ".join(f"{name}({_arguments(arguments, draft.positional)})" for name, arguments in step)
    return f"{draft.fence}[{text}]{draft.fence}"


def _arguments(arguments: Mapping[str, Any], positional: bool) -> str:
    return ", ".join(
        _python(value) if positional and not place else f"{key}={_python(value)}"
        for place, (key, value) in enumerate(arguments.items())
    )


def _python(value: Any) -> str:
    """A value as Python text; an object of objects as the call that it stands for."""
    if isinstance(value, dict) and value and all(isinstance(inner, dict) for inner in value.values()):
        return ", ".join(
            f"{name}({', '.join(f'{k}={_python(v)}' for k, v in given.items())})" for name, given in value.items()
        )
    return repr(value)
