"""The user's mail."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .bm25 import Bm25, words_of
from .calls import TIME, Param, ToolSpec, parse_time
from .world import Row, World, next_id

Arguments = Mapping[str, Any]


def _send(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    mail = {
        "id": next_id(world.mails),
        "sender": f"{world.user}@mail.com",
        "receiver": ", ".join(given["receiver"]),
        "subject": given["subject"],
        "content": given["content"],
        "timestamp": now.strftime(TIME),
        "status": "Sent",
        "read_status": "Read",
        "attachments": given["attachments"],
    }
    told = {"status": "success", "message": f"The mail to {mail['receiver']} is sent."}
    return told, world.changed(mails=(*world.mails, mail))


def _until(world: World, now: datetime) -> list[Row]:
    """Return the mails up to now, those sent in this case included."""
    return [mail for mail in world.mails if (moment := parse_time(mail["timestamp"])) and moment <= now]


def _today(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    today = [mail for mail in _until(world, now) if str(mail["timestamp"])[:10] == now.strftime(TIME)[:10]]
    return {"status": "success", "data": today}, world


def _by_address(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    asked = given["address"].lower()
    found = [m for m in _until(world, now) if asked in str(m["sender"]).lower() or asked in str(m["receiver"]).lower()]
    return {"status": "success", "data": found}, world


def _by_content(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    mails = _until(world, now)
    index = Bm25([words_of(f"{mail['subject']} {mail['content']}") for mail in mails])
    found = [mails[place] for place in index.best(words_of(given["query"]), 5, held=True)]
    if not found:
        return {"status": "success", "data": [], "note": "no mail holds these words"}, world
    return {"status": "success", "data": sorted(found, key=lambda mail: str(mail["timestamp"]), reverse=True)}, world


SPECS = (
    ToolSpec(
        "send_email",
        "email",
        "Send a mail in the user's name.",
        (
            Param("receiver", "addresses", "Mail address of the receiver, or a list of them."),
            Param("subject", "text", "The subject."),
            Param("content", "text", "The mail's text."),
            Param("attachments", "text", "Path of a file to attach.", needed=False),
        ),
        _send,
        mutates=True,
    ),
    ToolSpec("get_today_emails_until_now", "email", "List today's mails up to now.", (), _today),
    ToolSpec(
        "search_email_by_sender_and_receiver",
        "email",
        "List mails from or to an address.",
        (Param("address", "text", "The address, or a part of it."),),
        _by_address,
    ),
    ToolSpec(
        "search_email_by_content",
        "email",
        "Find the five mails whose text fits a query best.",
        (Param("query", "text", "Words to look for."),),
        _by_content,
    ),
)
