"""The settings of one hook.  Pure."""

from __future__ import annotations

from uploadd.protocol.hooks import KINDS
from uploadd.settings.declare import section, setting
from uploadd.settings.kinds import DURATION, SECRET, TEXT, Secret, choice, count, many


@section
class Hook:
    """Who is asked before something is done, or told afterwards: a program, or an address."""

    run: tuple[str, ...] = setting(
        many(TEXT),
        [],
        "A program and its arguments, with its whole path; never run by a shell. It gets the event"
        " as JSON on its standard input.",
        reloads=True,
    )
    url: str = setting(
        TEXT,
        "",
        "Or an address, https://…, that the event is posted to. Redirects are not followed.",
        reloads=True,
    )
    events: tuple[str, ...] = setting(
        many(choice(*KINDS)),
        ["post-finish"],
        "What it is asked or told: pre-create, pre-finish, pre-terminate, where nothing is done"
        " without its answer; post-create, post-finish, post-terminate, told at least once;"
        " post-receive, told once a second while bytes come.",
        reloads=True,
    )
    secret: Secret = setting(
        SECRET,
        "",
        "What an address is shown that it is us (Standard Webhooks): whsec_ and 24 bytes or more in"
        " base64.",
        reloads=True,
    )
    timeout: float = setting(
        DURATION,
        "10 s",
        "How long one answer may take. Then a program is killed, with all that it has started.",
        reloads=True,
    )
    attempts: int = setting(
        count(1, 100),
        40,
        "How often it is tried to tell an event, over a day or so, until that is a dead letter:"
        " uploadd hooks ls, uploadd hooks retry.",
        reloads=True,
    )
