"""What one session watches: asked for by its reader, told by its sender."""

from __future__ import annotations

from typing import Final

from uploadd import errors
from uploadd.auth import Access, Operation
from uploadd.errors import UploadError
from uploadd.latest import EVERYBODY, of_owner, of_session, of_upload
from uploadd.protocol.seen import reason
from uploadd.protocol.wsmessages import Read, Unwatch, Watch
from uploadd.serve.voice import Voice
from uploadd.watch import MAX_NOTICES

MINE: Final = "mine"


class Watching:
    """The watches of *session*.  What must wait for the ledger is done by one task at a time."""

    def __init__(self, session: Voice, access: Access) -> None:
        self._session, self._uploads, self._access = session, session.uploads, access
        self._watcher = session.uploads.watch.watcher(session.wake_sender)
        self._sought: dict[str, None] = {}  # ids to be looked up, in order; all are watched
        self._were_read: set[str] = set()  # notices
        self._all_read = self._recalls = self._busy = False

    def open(self) -> None:
        """From now on the session is told of what was posted in its name."""
        self._watcher.add(of_session(self._session.id))

    def close(self) -> None:
        """Watch nothing any more."""
        self._watcher.close()

    @property
    def ready(self) -> bool:
        """Whether `tell` has something to say."""
        return self._watcher.ready

    # --- for the reader: never waits ------------------------------------------------------------

    def watch(self, said: Watch) -> None:
        """Tell of these too."""
        if not isinstance(said.uploads, str):
            self._sought |= dict.fromkeys(said.uploads)
        elif said.uploads == MINE:
            if self._permitted(Operation.WATCH_MINE):
                self._watcher.add(of_owner(self._session.who.owner))
                self._recalls = True
        elif self._permitted(Operation.WATCH_ALL):
            self._watcher.add(EVERYBODY)
        self._get_busy()

    def unwatch(self, said: Unwatch) -> None:
        """Tell of these no more."""
        if said.uploads is None:
            subjects = list(self._watcher.subjects - {of_session(self._session.id)})
            self._sought.clear()
        elif isinstance(said.uploads, str):
            mine = said.uploads == MINE
            subjects = [of_owner(self._session.who.owner) if mine else EVERYBODY]
        else:
            subjects = [of_upload(id) for id in said.uploads]
            for id in said.uploads:
                self._sought.pop(id, None)
        for subject in subjects:
            self._watcher.drop(subject)

    def read(self, said: Read) -> None:
        """These notices need not be told again."""
        if not self._permitted(Operation.LIST_MINE):
            return
        if said.notices == "all":
            self._all_read = True
        else:
            self._were_read |= set(said.notices)
            if len(self._were_read) > MAX_NOTICES:  # more than there are
                self._were_read = set(said.notices[:MAX_NOTICES])
        self._get_busy()

    def _permitted(self, what: Operation) -> bool:
        try:
            self._access.check(self._session.who, what)
        except UploadError as error:
            self._session.machine.object(error)
            return False
        return True

    # --- for the sender ---------------------------------------------------------------------------

    def tell(self) -> None:
        """Pass on some of what is new: the rest is made when this was sent."""
        machine = self._session.machine
        for life in self._watcher.take():
            id = life.upload.id
            if (why := life.gone) is None:
                machine.progress(id, life.text)
            else:
                machine.unwatched(id, why)
                self._watcher.drop(of_upload(id))
        for notice in self._watcher.notices():
            machine.notice(notice)

    # --- the task ---------------------------------------------------------------------------------

    def _get_busy(self) -> None:
        if not self._busy and (self._sought or self._all_read or self._were_read or self._recalls):
            self._busy = True
            self._session.spawn(self._look)

    async def _look(self) -> None:
        """Everything that waits for the ledger."""
        try:
            while self._sought:
                id = next(iter(self._sought))
                del self._sought[id]
                await self._find(id)
            await self._notices()
        finally:
            self._busy = False
        self._get_busy()  # there may be more by now

    async def _find(self, id: str) -> None:
        machine = self._session.machine
        try:
            upload = await self._uploads.find(id)
            self._access.check(self._session.who, Operation.WATCH, upload)
        except errors.NotFound:
            machine.unwatched(id, "unknown")
        except errors.Forbidden:
            machine.unwatched(id, "forbidden")
        except UploadError as error:
            machine.object(error)
        else:
            if (why := reason(upload)) is not None:
                machine.unwatched(id, why)
            elif id in machine.watched:
                self._watcher.add_upload(upload)
        self._session.wake_sender()

    async def _notices(self) -> None:
        owner, archive = self._session.who.owner, self._uploads.archive
        recalls, self._recalls = self._recalls, False
        all_read, self._all_read = self._all_read, False
        were_read, self._were_read = self._were_read, set()
        try:
            if all_read or were_read:
                await archive.read(owner, None if all_read else were_read)
            if recalls:
                for one in await archive.notices(owner, unread=True):
                    self._watcher.note(one.notice)
        except UploadError as error:
            self._session.machine.object(error)
            self._session.wake_sender()
