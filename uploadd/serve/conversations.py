"""Which answer each request gets: the table of routes, carried out."""

from __future__ import annotations

from typing import Final

from uploadd import errors
from uploadd.assembling import Assembling
from uploadd.auth import Operation, Who
from uploadd.budget import Budget
from uploadd.protocol import assets, cors, credentials, dialects, pages, put, questions, tus
from uploadd.protocol.dialects import SPEAKERS, Dialect, spoken
from uploadd.protocol.form import Form, stored
from uploadd.protocol.heads import Head
from uploadd.protocol.posted import posted
from uploadd.protocol.routes import Conversation, Route
from uploadd.protocol.upload import State
from uploadd.protocol.ws import CAN
from uploadd.serve.api import Api
from uploadd.serve.assets import load
from uploadd.serve.download import Published, serve_file
from uploadd.serve.exchange import Exchange
from uploadd.serve.form import FormUpload
from uploadd.serve.looking import Names
from uploadd.serve.posting import Post
from uploadd.serve.resumable import Resumable
from uploadd.serve.rules import Rules
from uploadd.serve.verbs import Verbs
from uploadd.store.reading import opened
from uploadd.uploads import Uploads

PUBLIC: Final = frozenset(
    {
        *(Conversation.FRONT, Conversation.ASSET, Conversation.INFO),
        *(Conversation.OPTIONS, Conversation.OPENAPI, Conversation.SESSION),
    }
)
"""What is answered to whoever asks: it tells nothing of anybody's uploads."""
BY_QUERY: Final = frozenset(
    {
        *(Conversation.POSTED, Conversation.STATUS, Conversation.REMOVE, Conversation.CANCEL),
        *(Conversation.LISTING, Conversation.ACTIVE, Conversation.EVENTS),
        *(Conversation.NOTICES, Conversation.READ, Conversation.LINK),
    }
)
"""Where a client may say in the query who it is: not every program can set a field."""


class Conversations:
    """What HTTP clients get of *uploads*."""

    def __init__(
        self,
        uploads: Uploads,
        assembling: Assembling,
        budget: Budget,
        rules: Rules,
        version: str,
    ) -> None:
        self._uploads, self._budget, self._rules = uploads, budget, rules
        self._version = version
        self._assets = load()
        self._access = rules.access
        self._verbs = Verbs(uploads, budget, rules.access, rules.measures)
        self._resumable = Resumable(uploads, self._verbs, assembling, rules)
        self._names = Names(uploads)
        self._api = Api(uploads, self._names, rules, version)

    def adopt(self, rules: Rules) -> None:
        """Go by *rules* from the next exchange on."""
        self._rules = rules
        self._verbs.adopt(rules.measures)
        self._resumable.adopt(rules)
        self._api.adopt(rules)

    def drain(self) -> None:
        """Answer those who wait for something to happen: nothing more will."""
        self._api.waiters.drain()

    async def converse(self, exchange: Exchange, head: Head, to: Route) -> None:
        """Answer *exchange*, whose *head* leads *to* somewhere.  Raises UploadError."""
        exchange.common = cors.fields(head, self._rules.origins)
        if to.conversation not in PUBLIC:
            exchange.who = self._who(head, to)
        match to.conversation:
            case Conversation.FRONT if assets.wants_page(head.fields):
                await self._asset(exchange, head, "index.html")
            case Conversation.FRONT:
                await exchange.answer(*pages.front(self._version, head))
            case Conversation.ASSET:
                await self._asset(exchange, head, to.name or "")
            case Conversation.PUT | Conversation.FORM | Conversation.FILES:
                await self._create(exchange, head, to)
            case Conversation.UPLOAD:
                await self._upload(exchange, head, to.upload or "")
            case Conversation.DOWNLOAD:
                await self._download(exchange, to.upload or "")
            case Conversation.INFO:
                listing = self._rules.access.listing
                page = pages.info(
                    self._version,
                    self._rules.durability,
                    CAN,
                    self._rules.told(self._budget.max_chunk),
                    listing=listing,
                )
                await exchange.answer(*page)
            case Conversation.OPTIONS:
                await self._options(exchange, head, to)
            case Conversation.SESSION:
                raise errors.UpgradeRequired("this path speaks WebSocket")
            case Conversation.POSTED:
                await self._posted(exchange, head, to)
            case _:
                await self._api.converse(exchange, head, to)

    def _who(self, head: Head, to: Route) -> Who:
        """Who asks.  Raises Unauthorised, and BadRequest for what cannot be read."""
        asked = questions.query_of(to.query) if to.conversation in BY_QUERY else {}
        name = questions.client_id(head, asked)
        if self._access.keyring is None:
            return self._access.identify(None, name)
        return self._access.identify(credentials.token_of(head, self._rules.origins), name)

    async def _create(self, exchange: Exchange, head: Head, to: Route) -> None:
        """Something new: resumable when the client says so, wherever it goes."""
        dialect = spoken(head)
        if (speaker := SPEAKERS.get(dialect)) is not None:
            await self._resumable.converse(exchange, head, None, speaker, to.path)
        elif dialect is Dialect.FORM or to.conversation is Conversation.FORM:
            await self._form(exchange, head)
        else:
            if to.conversation is Conversation.FILES:
                dialects.check_plain(head)
            upload = await self._verbs.create(exchange, put.asked(head, to))
            await exchange.answer(*put.created(head, upload))

    async def _upload(self, exchange: Exchange, head: Head, id: str) -> None:
        """What there is: its bytes when it is complete, else how it stands."""
        if head.method == "GET":
            upload = await self._resumable.find(id)
            if upload.state is State.PUBLISHED or spoken(head) is not Dialect.IETF:
                await self._download(exchange, id)
                return
        speaker = SPEAKERS.get(spoken(head), tus)
        await self._resumable.converse(exchange, head, id, speaker)

    async def _options(self, exchange: Exchange, head: Head, to: Route) -> None:
        status, fields, body = pages.options(to.allowed)
        fields += dialects.options(self._rules.max_length)
        exchange.common = cors.preflight(head, to.allowed, self._rules.origins)
        await exchange.answer(status, fields, body)

    async def _asset(self, exchange: Exchange, head: Head, name: str) -> None:
        found = self._assets.get(name)
        if found is None:
            raise errors.NotFound("nothing lives at this path")
        await exchange.answer(*assets.answer(head.fields, found))

    async def _form(self, exchange: Exchange, head: Head) -> None:
        form = FormUpload(self._uploads, self._budget, self._rules, exchange, Form(head))
        files = await form.store()
        page = assets.wants_page(head.fields)
        await exchange.answer(*stored(files, page=page))

    async def _posted(self, exchange: Exchange, head: Head, to: Route) -> None:
        said, form = posted(head), Form(head)
        post = Post(self._uploads, self._budget, self._rules, exchange, form, said, self._names)
        await exchange.answer(*stored(await post.store(), page=False))

    async def _download(self, exchange: Exchange, id: str) -> None:
        upload = await self._resumable.find(id)
        self._access.check(exchange.who, Operation.READ, upload)
        place, length = upload.published, upload.length or 0
        if upload.state is not State.PUBLISHED or place is None:
            raise errors.NotFound(f"upload {id} is {upload.state.value}, not published")
        published = Published(id, upload.name, upload.media_type, length, int(upload.modified))
        file = opened(self._uploads.store, place, length)
        if (refused := await serve_file(exchange, published, file)) is not None:
            self._uploads.refusals.tell(refused, exchange.request_id)
