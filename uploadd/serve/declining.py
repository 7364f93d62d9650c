"""A session that is accepted to be told why there is none."""

from __future__ import annotations

import trio

from uploadd.budget import Share
from uploadd.errors import UploadError
from uploadd.protocol.framereader import FrameReader
from uploadd.protocol.frames import Judge
from uploadd.protocol.upgrade import Upgrade
from uploadd.protocol.ws import ServerSession
from uploadd.protocol.wschunks import MAX_HEADER
from uploadd.protocol.wsmessages import Limits
from uploadd.serve.gate import Gate
from uploadd.serve.messages import accepted
from uploadd.serve.rules import Rules


async def decline(
    stream: trio.abc.Stream, upgrade: Upgrade, share: Share, rules: Rules, error: UploadError
) -> None:
    """Accept a session, say *error*, and end it.

    A browser never shows its page the status of a refused handshake.
    """
    gate = Gate(stream, FrameReader(Judge(max_binary=MAX_HEADER)), share, message_seconds=1.0)
    machine = ServerSession(Limits(0, None, 0, 0, 0))
    machine.fail(error)
    async with accepted(gate, upgrade.answer, seconds=rules.handshake) as messages:
        await messages.send(*machine.messages())
        await messages.close(*(machine.closing or (1008, "")))
