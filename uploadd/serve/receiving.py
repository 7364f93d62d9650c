"""One upload in one session: from ``begin`` to its last word.

The reader of the session calls the verbs, which never wait.  One task, `run`, does what waits:
it finds and claims the upload, writes, completes, and gives the claim back.
"""

from __future__ import annotations

import logging
from typing import Final

from uploadd import errors
from uploadd.claim import Claim
from uploadd.errors import UploadError
from uploadd.intake import Intake
from uploadd.pacing import Flow
from uploadd.protocol.hooks import Draft
from uploadd.protocol.upload import Input, State, Upload
from uploadd.protocol.wschunks import Chunk
from uploadd.protocol.wsmessages import Begin, Finish
from uploadd.serve import opening
from uploadd.serve.lastword import Telling
from uploadd.serve.paying import Paying, drained
from uploadd.serve.voice import Voice
from uploadd.tally import Way

log = logging.getLogger("uploadd.upload")
WIRE: Final = "ws"
CHUNK_COST: Final = 256
"""Bytes of memory that a waiting chunk costs beside its payload."""


class Receiving:
    """The run of one ref.  Once ``mute`` it says nothing more: the ref may have a new run."""

    def __init__(self, session: Voice, begin: Begin) -> None:
        self.ref, self.begin = begin.ref, begin
        self._telling = Telling(session, begin.ref)
        self._session, self._uploads = session, session.uploads
        self._upload: Upload | None = None
        self._claim: Claim | None = None
        self._intake: Intake | None = None
        self._paying: Paying | None = None
        self._finished = self._cancelled = self._left = self._ended = self._unwanted = False
        self._early: list[Chunk] = []
        self._length: int | None = None
        self._digest = begin.digest.value if begin.digest else None
        self._objection: UploadError | None = None
        try:
            if opening.is_free(session, begin):
                self._open_new(opening.draft(begin))  # chunks may follow at once
        except UploadError as error:  # and when they do, they wait until that is said
            self._objection = error

    @property
    def mute(self) -> bool:
        """Whether it says nothing more: the ref may have a new run."""
        return self._telling.mute

    # --- verbs, for the session's reader ----------------------------------------------------

    def chunk(self, chunk: Chunk) -> None:
        """Take a chunk; refuse what cannot be taken."""
        if self.mute or self._ended:
            return
        cost = len(chunk.data) + CHUNK_COST
        self._session.share.take(cost)
        if self._intake is None:  # nobody knows yet whether the key has an upload
            self._early.append(chunk)
            return
        try:
            opening.check_chunk(self._uploads, self._intake.claim.upload, chunk)
            self._intake.put(chunk.at, chunk.data, cost=cost, flush=chunk.flush)
        except UploadError as error:
            self._session.share.give_back(cost)
            self.refuse(error)
            self._unwanted = isinstance(error, errors.TypeNotAllowed)
            return
        if self._paying is not None:
            self._paying.look()
        if chunk.last:
            self._finish(chunk.end)

    def finish(self, finish: Finish) -> None:
        """The upload is whole."""
        if self.mute:
            return
        if finish.digest is not None:
            self._digest = finish.digest.value
        self._finish(finish.length)

    def _finish(self, length: int | None) -> None:
        self._finished, self._length = True, length
        if self._intake is not None:
            self._end_intake()

    def _end_intake(self) -> None:
        """Fix the length, if it was not known, and let the writer run dry."""
        assert self._claim is not None
        assert self._intake is not None
        length = self._claim.run.received if self._length is None else self._length
        try:
            if self._length is not None or self._claim.upload.length is None:
                self._uploads.declare(self._claim, length)
        except UploadError as error:
            self.refuse(error)
        else:
            self._intake.finish()

    def cancel(self) -> None:
        """The client does not want it any more; it is owed a last word, refused before or not."""
        self._cancelled = True
        self._telling.mute = False
        self.leave()
        if self._ended:
            self._session.spawn(self._cancel)

    def leave(self) -> None:
        """Nothing more comes: keep what was taken, and give the claim back."""
        self._left = True
        if self._intake is not None:
            self._intake.close()

    def end(self) -> None:
        """The machine has said the last word of this run already."""
        self._telling.mute = True
        self.leave()

    def refuse(self, error: UploadError) -> None:
        """Say *error*; nothing more is taken in this run."""
        if self.mute:
            return
        self._telling.refuse(error, self._upload, owed=self._cancelled)
        self.leave()

    # --- the task -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry the upload as far as this run goes.  Raises nothing but Cancelled and bugs."""
        try:
            with self._session.guest.sending(self._session.who.owner) as flow:
                if await self._open():
                    await self._carry(flow)
        except UploadError as error:
            self.refuse(error)
        finally:
            self._ended = True
            self._take_early()
            if self._intake is not None:
                self._intake.abandon()
            if self._claim is not None:
                self._uploads.release(self._claim)
        if self._unwanted or (self._cancelled and not self.mute):
            await self._cancel()
        self._session.forget(self.ref, self)

    async def _open(self) -> bool:
        """Have a claim that is settled; False when there is nothing to append to."""
        if self._objection is not None:
            raise self._objection
        if self._claim is None:
            found, draft = await opening.invite(self._session, self.begin)
            if found is None:
                self._open_new(draft)
            elif not await self._resume(found):
                return False
            self._catch_up()
        upload = self._upload_of()
        if not upload.enrolled:
            await self._uploads.room_for(upload.length)
            self._uploads.commit.enrol(upload)
        self._on_move()
        return True

    def _catch_up(self) -> None:
        """Do what was asked for before the claim was settled, before anything else is."""
        assert self._intake is not None
        for chunk in self._take_early():
            self.chunk(chunk)
        if self._finished and not self.mute and not self._intake.finished:
            self._end_intake()
        if self._left:
            self._intake.close()

    def _take_early(self) -> list[Chunk]:
        """The chunks that came before the claim was settled; nobody holds them any more."""
        early, self._early = self._early, []
        for chunk in early:
            self._session.share.give_back(len(chunk.data) + CHUNK_COST)
        return early

    async def _resume(self, upload: Upload) -> bool:
        """Have a claim on *upload*; False when nobody wants one any more."""
        self._upload = upload
        if upload.state is State.PUBLISHED:
            self._digest = upload.digest
            self._telling.done(upload, self._digest)
        if self.mute:
            return False
        self._claim = self._contend(upload)
        await self._uploads.settle(self._claim)
        self._intake = self._new_intake(self._claim)
        return True

    def _open_new(self, draft: Draft) -> None:
        self._upload = opening.create(self._session, self.begin, draft)
        self._claim = self._contend(self._upload)
        self._uploads.settle_new(self._claim)
        self._intake = self._new_intake(self._claim)

    def _contend(self, upload: Upload) -> Claim:
        session = self._session
        upload.request = session.request
        claim = self._uploads.contend(
            upload, self._on_stop, self._on_move, session.crash, way=Way(WIRE, session.id)
        )
        claim.bound(session.who.most)
        claim.held_back = lambda: not session.share.may_read
        return claim

    def _new_intake(self, claim: Claim) -> Intake:
        return Intake(
            claim,
            self._uploads.store,
            self._uploads.commit,
            taken=self._session.share.give_back,
            max_chunk=self._session.max_chunk,
        )

    async def _carry(self, flow: Flow | None) -> None:
        """Write to the end of this run, then do what the client asked for at its end."""
        upload = self._upload_of()
        assert self._claim is not None
        assert self._intake is not None
        if flow is not None:
            self._paying = Paying(flow, self._claim, self._on_move)
        error = await drained(self._intake, self._paying)
        if error is not None or self._cancelled or self.mute:
            return
        if self._finished and not self._session.who.revoked:
            await self._uploads.complete(upload, self._digest, self._claim)
            self._telling.done(upload, self._digest)
        else:  # the session ends: what was taken is acknowledged before
            await self._uploads.commit.settle(upload)
            self._session.access.check_still(self._session.who)

    async def _cancel(self) -> None:
        upload = self._upload
        if upload is None:  # it could not even be looked up
            self.refuse(errors.Gone("the upload could not be found", reason="lost"))
            return
        try:
            await self._uploads.terminate(upload, Input.CANCEL)
        except errors.Gone as error:
            self._telling.gone(upload, error.reason)
        except errors.Refused as error:
            self._telling.refuse(error, upload, owed=True)
        except UploadError as error:
            self._cannot_cancel(upload, error)
        else:
            self._telling.gone(upload, "cancelled")
        self._session.forget(self.ref, self)

    def _cannot_cancel(self, upload: Upload, error: UploadError) -> None:
        """Some last word all the same: whoever completes it now has it."""
        if upload.state is State.PUBLISHED:
            self._telling.done(upload, self._digest)
        elif upload.state is State.CANCELLED:  # and the ledger will know when there is room
            self._telling.gone(upload, "cancelled")
        else:
            log.info("%s cannot cancel %s: %s", self._session.id, upload.id, error)
            self._telling.gone(upload, "taken-over")

    # --- what is said ---------------------------------------------------------------------------

    def _on_move(self) -> None:
        """The durable offset, the credit or the state may have changed: tell the newest."""
        if self.mute or self._claim is None or self._claim.run.fence < 0:
            return
        upload, run = self._upload_of(), self._claim.run
        if upload.state is not State.RECEIVING or not upload.enrolled:
            return
        offset = run.offset(upload)
        chunk = self._session.max_chunk
        limit = run.grant(offset, chunk, self._paying.most(chunk) if self._paying else None)
        self._telling.stands(upload, run.received, offset, limit, ended=self._finished)

    def _on_stop(self, error: UploadError) -> None:
        if self._paying is not None:
            self._paying.stop()
        if isinstance(error, errors.TakenOver | errors.Gone):
            reason = error.reason if isinstance(error, errors.Gone) else "taken-over"
            self._telling.gone(self._upload_of(), reason)
        else:
            self.refuse(error)
        self.leave()

    def _upload_of(self) -> Upload:
        assert self._upload is not None
        return self._upload
