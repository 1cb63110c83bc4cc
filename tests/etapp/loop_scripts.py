"""Random replies for the published loop, the same for everybody who draws them, and a digest of what it kept.

The published sentences are no part of the digest: each stands there by its name. So nothing of them is needed here.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

KINDS = [(setting, strategy) for setting in ("given", "retrieval") for strategy in ("fc", "react", "e-react")]
COUNT, TURNS = 100, 8  # of each kind: 600 scripts
_EVENT = {
    "title": "Tea",
    "description": "Tea",
    "start_time": "2025-03-06 10:00:00",
    "end_time": "2025-03-06 11:00:00",
}
_CALLS: Sequence[tuple[str, str]] = [
    ("view_today_alarms", "{}"),
    ("view_today_events_in_calendar", "{}"),
    ("view_today_alarms", '{"day": 1}'),
    ("get_music_list_in_favorites", "{}"),
    ("add_event_in_calendar", json.dumps(_EVENT)),
    ("add_event_in_calendar", json.dumps(_EVENT | {"reminder": None})),
    ("add_event_in_calendar", str(_EVENT | {"title": "annulled"})),
    ("add_alarm", '{"message": "m"}'),
    ("add_alarm", "{'alarm_time': '2025-03-05 07:00:00', 'message': 'null'}"),
    ("add_alarm", '{"alarm_time": null, "message": "null and void"}'),
    ("add_alarm", "{'alarm_time': 'null', 'message': \"it's null\"}"),
    ("control_curtains_in_home", '{"open": true}'),
    ("control_curtains_in_home", '{"open": "True"}'),
    ("control_curtains_in_home", "{'open': True}"),
    ("boil_water_in_home", '{"temperature": NaN}'),
    ("boil_water_in_home", '{"temperature": 100.5}'),
    ("add_product_to_cart", json.dumps({"product_id": "p", "product_name": "x" * 9000, "quantity": 1})),
    ("bake_bread", "{}"),
    ("bake_bread", '{"tool_name": 1}'),
    ("view_today_alarms", '{"tool_name": 1}'),
    ("view_today_alarms", '{"self": 1}'),
    ("view_today_alarms", "{1: 2}"),
    ("view_today_alarms", "[1]"),
    ("view_today_alarms", '"a text"'),
    ("view_today_alarms", "7"),
    ("view_today_alarms", ""),
    ("view_today_alarms", "  {}"),
    ("view_today_alarms", "{oh no"),
    ("view_today_alarms", '{"a": ' * 300 + "1" + "}" * 300),
    ("get_tool_doc", '{"tools_name": "add_alarm"}'),
    ("get_tool_doc", '{"tools_name": ["get_today_weather", "send_email", "nothing", "add_alarm"]}'),
    ("get_tool_doc", "{}"),
    ("search_tools", '{"keywords": "an alarm"}'),
    ("finish", "{}"),
    ("Finish", '{"answer": 1}'),
    ("", "{}"),
]
_TEXTS = ("", "All is done.", "I think\nso.", "Thought: hm", "Final Answer", "Action:", "Action Input: {}", "\n")


def scripts(setting: str, strategy: str) -> list[list[dict[str, Any]]]:
    """All scripts of a kind, each a list of replies: "content", "calls" (id, name, arguments), "finish", "tokens"."""
    dice = random.Random(f"{setting}/{strategy}")
    draw = _functions if strategy == "fc" else _text
    return [[draw(dice) for _ in range(TURNS + 1)] for _ in range(COUNT)]


def _functions(dice: random.Random) -> dict[str, Any]:
    finish = dice.choice(("tool_calls",) * 8 + ("stop", "length", "length"))
    count = dice.choice((1,) * 8 + (2, 3, 10, 11)) if finish == "tool_calls" else dice.choice((0, 1))
    key = lambda place: f"id{place if dice.random() < 0.9 else 0}"  # noqa: E731  an id may come twice
    calls = [(key(place), *dice.choice(_CALLS)) for place in range(count)]
    tokens = dice.choice((100,) * 30 + (16_384, 16_385))
    return {"content": dice.choice((None, *_TEXTS)), "calls": calls, "finish": finish, "tokens": tokens}


def _text(dice: random.Random) -> dict[str, Any]:
    name, given = dice.choice(_CALLS)
    call = f"Action: {name}\nAction Input: {given}"
    thought = dice.choice(("Thought: look\n", "", "Well. Thought: look\n", "Thought: a\nThought: b\n"))
    shapes = [f"{thought}{call}"] * 12
    shapes += [
        f"{thought}{call}\nObservation: none\n{call}",
        f"{thought}{call}\nFinal Answer: too early",
        f"{thought}Final Answer: It is late.",
        "Final Answer: a Final Answer: b\nThought: c",
        f"{thought}Action: {name}",
        f"Action Input: {{}}\n{call}",
        f"{thought}{call} \n ",
        dice.choice(_TEXTS),
    ]
    return {"content": dice.choice(shapes), "calls": [], "finish": "stop", "tokens": 100}


def named(history: Sequence[Mapping[str, Any]], sentences: Mapping[str, str], go_on: str) -> list[Any]:
    """What the loop kept, with the names of its sentences in their place."""
    names = {text: name for name, text in {**sentences, "go on": go_on}.items() if name not in ("context",)}
    kept = []
    for message in history:
        text = message["content"]
        shown = f"<{names[text]}>" if text in names else text.replace(sentences["preferences"], "<preferences>")
        kept.append([message["role"], shown, message.get("tool_calls")])
    return kept


def digest(histories: Sequence[Any]) -> str:
    """The first digits of a hash over all histories."""
    whole = hashlib.sha256()
    for history in histories:
        whole.update((json.dumps(history, ensure_ascii=False) + "\n").encode())
    return whole.hexdigest()[:16]
