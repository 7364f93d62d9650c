"""Links for people without a token: tickets, made for who may do what they are for."""

from __future__ import annotations

import secrets

import trio

from uploadd import errors
from uploadd.auth import Access, Operation, Who
from uploadd.auth.files import Unusable
from uploadd.auth.keyring import Keyring
from uploadd.protocol import tickets
from uploadd.protocol.api import Link, Linking
from uploadd.protocol.tickets import Ticket
from uploadd.serve.looking import present
from uploadd.uploads import Uploads


async def make_link(uploads: Uploads, access: Access, who: Who, asked: Linking) -> Link:
    """The link that *who* has *asked* for.

    Raises what `Access.check` raises; NotFound, Gone; Forbidden where nobody needs a link.
    """
    until = access.link_ends(who, asked.expires_in)
    if asked.upload is not None:
        upload = present(await uploads.find(asked.upload))
        access.check(who, Operation.SHARE, upload)
        ticket = Ticket("read", upload.id, until)
    else:
        access.check(who, Operation.INVITE)
        id = secrets.token_urlsafe(12)
        ticket = Ticket("send", id, until, owner=who.owner, max_length=asked.max_length)
    if access.keyring is None:
        raise errors.Forbidden(
            "nobody is asked for a token here: the URL alone is enough",
            hint="uploadd token new, and start the server again",
        )
    text = await _signed(access.keyring, ticket, who)
    return Link(tickets.link(ticket, text), text, float(until))


async def _signed(keyring: Keyring, ticket: Ticket, who: Who) -> str:
    """The text of *ticket*; the first makes the key."""
    if (text := keyring.sign(ticket, who.standing)) is not None:
        return text
    try:
        take = await trio.to_thread.run_sync(keyring.with_key)
    except Unusable as error:
        raise errors.NotWritable(f"no key for links can be kept: {error.why}") from error
    take()
    made = keyring.sign(ticket, who.standing)
    assert made is not None, "there is a key now"
    return made
