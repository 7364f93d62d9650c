"""A folder, opened: its store, ledger and desk, for the daemon and for whoever does without one."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from uploadd import errors
from uploadd.commit import Commit
from uploadd.config import Config
from uploadd.folder import LEDGER, STATE, check_remembered, locked, not_writable
from uploadd.hooks import Hooks
from uploadd.ledger import Ledger
from uploadd.listening import CannotStart
from uploadd.parts import receivers
from uploadd.protocol.kinds import Types
from uploadd.quota import Quota
from uploadd.recovery import Report, recover
from uploadd.store.file import FileStore
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd")


def state_of(config: Config) -> str:
    """The folder with what is ours, in the one that is served."""
    return os.path.join(os.path.abspath(config.storage.dir), STATE)


@asynccontextmanager
async def opened(config: Config, max_open: int) -> AsyncIterator[Uploads]:
    """Store, ledger and desk of a folder that is ours alone, recovered."""
    with _storage(config, max_open) as (store, ledger):
        try:
            hooks = await trio.to_thread.run_sync(_hooks, config)
            _tell(await recover(store, ledger, hooks=hooks))
            commit = Commit(
                store,
                ledger,
                flush_bytes=config.durability.flush_bytes,
                flush_interval=config.durability.flush_interval,
            )
            uploads = Uploads(
                store,
                ledger,
                commit,
                template=config.storage.path,
                max_length=config.limits.max_length,
                quota=Quota(config.limits.max_total, config.limits.max_uploads),
                types=Types(config.limits.types),
                hooks=hooks,
            )
            uploads.tally.store_seconds = store.seconds
            uploads.quota.load(await uploads.archive.taken())
            yield uploads
        finally:
            with trio.CancelScope(shield=True):
                await store.aclose()
                await ledger.aclose()


@contextmanager
def _storage(config: Config, max_open: int) -> Iterator[tuple[FileStore, Ledger]]:
    """Lock the folder and open what is in it; nothing else runs yet, so it may block."""
    root = os.path.abspath(config.storage.dir)
    durable = config.durability.ack == "durable"
    with locked(root):
        check_remembered(root)
        try:
            store = FileStore(
                root,
                mode=config.storage.mode,
                durable=durable,
                flush=config.durability.flush,
                min_free=config.storage.min_free,
                max_open=max_open,
            )
            ledger = Ledger(os.path.join(root, STATE, LEDGER), durable=durable)
        except errors.StoreError as error:
            raise CannotStart(error.message, error.hint or "", os.EX_NOPERM) from error
        except OSError as error:
            raise not_writable(root, error) from error
        yield store, ledger


def _hooks(config: Config) -> Hooks:
    return Hooks(os.path.abspath(config.storage.dir), receivers(config))


def _tell(report: Report) -> None:
    unfinished, published = len(report.unfinished), len(report.published)
    log.info("recovered: %d uploads unfinished, %d published", unfinished, published)
    for id in report.lost:
        log.error("upload %s is lost: the disk no longer has what was acknowledged", id)
