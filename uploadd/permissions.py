"""From settings to who may do what; and the files of tokens and keys, read again as they change."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable
from typing import Final

import trio

from uploadd.auth import Access, lists_everybody, takes_strangers
from uploadd.auth import files as auth_files
from uploadd.auth.files import Unusable
from uploadd.auth.keyring import Keyring, Places
from uploadd.config import Config, ConfigError, Place, Problem
from uploadd.folder import STATE
from uploadd.listening import CannotStart, is_beyond
from uploadd.protocol.origins import LOCAL_NAMES
from uploadd.protocol.tokens import Terms, read_scopes

log = logging.getLogger("uploadd.access")
LOOK: Final = 1.0
"""Seconds between two looks at the files."""
MEND: Final = "mend or remove it: what is not understood permits nothing"


def places_of(config: Config) -> Places:
    """Where tokens and keys lie."""
    said, state = config.access, os.path.join(os.path.abspath(config.storage.dir), STATE)
    scopes = read_scopes(said.jwt_scopes)
    terms = Terms(said.jwt_audience, said.jwt_issuer or None, scopes) if said.jwt_keys else None
    return Places(
        said.tokens or os.path.join(state, auth_files.TOKENS),
        said.link_keys or os.path.join(state, auth_files.KEYS),
        said.jwt_keys or None,
        terms,
    )


def check(config: Config) -> None:
    """What the daemon would refuse to start with, if it opens its sockets itself; of what is in
    its folder only where that is known.  May block.  Raises CannotStart.
    """
    said, places = config.access, places_of(config)
    if config.storage.dir:
        _check_apart(config)
    else:
        places = places._replace(tokens=said.tokens, keys=said.link_keys)
    _keyring(places)
    if config.storage.dir or said.tokens:
        public = is_beyond(config.server.host)
        _takes_strangers(config, tokens=_has_tokens(places), public=public)


def _check_apart(config: Config) -> None:
    """Raises CannotStart where who may upload could make tokens: as files, with their names."""
    root, said = os.path.realpath(config.storage.dir), config.access
    for key, folder in (("tokens", said.tokens), ("link_keys", said.link_keys)):
        path = os.path.realpath(folder)
        inside = os.path.commonpath([root, path]) == root
        ours = os.path.commonpath([os.path.join(root, STATE), path]) == os.path.join(root, STATE)
        if folder and inside and not ours:
            raise CannotStart(
                f"access.{key} lies where uploads go: whoever sends a file there makes a token",
                f"another folder, such as /etc/uploadd/{key}; or none: {STATE}/ in {root}",
                os.EX_CONFIG,
                setting=f"access.{key}",
            )


def _has_tokens(places: Places) -> bool:
    """Whether there is any way to have one."""
    return places.jwks is not None or os.path.isdir(places.tokens)


def _takes_strangers(config: Config, *, tokens: bool, public: bool) -> bool:
    """Raises CannotStart where nobody has said so, and everybody could come: by themselves, or
    by a name that the daemon has, since then something is in front of it.
    """
    named = not LOCAL_NAMES.issuperset(config.server.names)
    strangers = takes_strangers(config.access.anonymous, public=public or named, tokens=tokens)
    if strangers is None:
        raise _for_everybody(config, public=public)
    return strangers


class Permissions:
    """What *config* permits; *local*: only this computer can come; *public*: others can by
    themselves.  May block.

    Raises CannotStart.
    """

    def __init__(self, config: Config, *, local: bool, public: bool) -> None:
        _check_apart(config)
        self._local, self._public, places = local, public, places_of(config)
        self._tokens = _has_tokens(places)
        strangers = _takes_strangers(config, tokens=self._tokens, public=public)
        if strangers and not (self._tokens or (local and not config.server.names)):
            log.warning("nobody is asked for a token (access.anonymous): everybody may upload")
        self._keyring = _keyring(places) if self._tokens or not strangers else None
        self.access = Access(
            listing=self._lists(config),
            reading=config.access.read == "everybody",
            keyring=self._keyring,
            strangers=strangers,
            grace=config.access.grace,
            link_life=config.access.link_life,
        )

    def _lists(self, config: Config) -> bool:
        names, tokens = config.server.names, self._tokens
        return lists_everybody(config.access.list, names, local=self._local, tokens=tokens)

    def prepare(self, config: Config) -> Callable[[], None]:
        """What makes *config* count, on the loop.  May block.  Raises ConfigError."""
        try:
            _takes_strangers(config, tokens=self._tokens, public=self._public)
            take = self._keyring.load() if self._keyring is not None else lambda: None
        except Unusable as error:
            raise ConfigError([Problem(Place(error.path), error.why, hint=MEND)]) from error
        except CannotStart as error:
            problem = Problem(Place(error.setting), error.message, hint=error.hint)
            raise ConfigError([problem]) from error
        listing, said = self._lists(config), config.access

        def swap() -> None:
            take()
            self.access.adopt(
                listing=listing,
                reading=said.read == "everybody",
                grace=said.grace,
                link_life=said.link_life,
            )

        return swap

    async def keep_fresh(self) -> None:
        """Read the files again whenever they have changed, until cancelled."""
        while self._keyring is not None:
            await trio.sleep(LOOK)
            if await trio.to_thread.run_sync(self._keyring.changed, abandon_on_cancel=True):
                await self._refresh(self._keyring)

    async def _refresh(self, keyring: Keyring) -> None:
        """What is wrong with a file is told once, and keeps no other from counting."""
        unusable: list[Unusable] = []
        take = await trio.to_thread.run_sync(
            keyring.refresh, unusable.append, abandon_on_cancel=True
        )
        take()
        log.info("tokens and keys were read again")
        for error in unusable:
            log.warning("%s\n→ %s", error, MEND)


def _keyring(places: Places) -> Keyring:
    try:
        return Keyring(places)
    except Unusable as error:
        raise CannotStart(str(error), MEND, os.EX_CONFIG) from error


def _for_everybody(config: Config, *, public: bool) -> CannotStart:
    named = [name for name in config.server.names if name not in LOCAL_NAMES]
    where = config.server.host if public else named[0]
    where_to = shlex.quote(config.storage.dir) if config.storage.dir else "DIR"
    return CannotStart(
        f"nobody is asked for a token, and whoever reaches {where} could upload",
        f"uploadd token new NAME {where_to}, for each who may upload\n"
        "(or --set access.anonymous=yes, if it is for everybody)",
        os.EX_CONFIG,
        setting="server.host" if public else "server.names",
    )
