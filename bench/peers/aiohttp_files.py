"""What users of aiohttp write: uploads by WebSocket, PUT and form to files, files as static ones.

aiohttp_files.py FOLDER; prints its port.
"""

import asyncio
import itertools
import json
import os
import sys

from aiohttp import WSMsgType, web

FOLDER = sys.argv[1]
NUMBERS = itertools.count()
PIECE = 1 << 18


async def websocket(request: web.Request) -> web.WebSocketResponse:
    """As ws_to_file.mjs does it."""
    ws = web.WebSocketResponse(max_msg_size=64 << 20, compress=False)
    await ws.prepare(request)
    fd, length, written = -1, 0, 0
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            length, written = json.loads(message.data)["length"], 0
            fd = os.open(f"{FOLDER}/{next(NUMBERS)}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        elif message.type is WSMsgType.BINARY:
            written += os.write(fd, memoryview(message.data)[16:])
            if written >= length:
                os.close(fd)
                await ws.send_str("done")
    return ws


async def put(request: web.Request) -> web.Response:
    """The body to a file, piece by piece."""
    with open(f"{FOLDER}/{request.match_info['name']}", "wb", buffering=0) as file:
        async for piece in request.content.iter_any():
            file.write(piece)
    return web.Response(status=201)


async def form(request: web.Request) -> web.Response:
    """Every file of a form."""
    async for part in await request.multipart():
        with open(f"{FOLDER}/{next(NUMBERS)}-{part.filename}", "wb", buffering=0) as file:
            while piece := await part.read_chunk(PIECE):
                file.write(piece)
    return web.Response(status=201)


async def main() -> None:
    """Serve until it is stopped."""
    app = web.Application(client_max_size=1 << 50)
    app.add_routes(
        [
            *(web.get("/", websocket), web.put("/{name}", put), web.post("/", form)),
            web.static("/", FOLDER),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    print(f"port {runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
