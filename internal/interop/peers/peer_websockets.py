"""The peer of Python's websockets."""

import asyncio

import websockets
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

import peer


class Conn:
    def __init__(self, ws):
        self.ws, self.pong = ws, ""

    async def send(self, message, fragments):
        await self.ws.send(peer.thirds(message) if fragments else message)

    async def read(self):
        try:
            return await self.ws.recv()
        except websockets.ConnectionClosed:
            return None

    async def ping(self):
        await (await self.ws.ping(peer.PAYLOAD))
        self.pong = peer.PAYLOAD.decode()

    async def close(self, code, reason):
        await self.ws.close(code, reason)

    @property
    def code(self):
        return self.ws.close_code

    @property
    def reason(self):
        return self.ws.close_reason


def options(factory):
    extensions = [factory] if peer.DEFLATE else None
    return {"compression": None, "extensions": extensions, "max_size": peer.LIMIT, "ping_interval": None}


async def serve():
    async def handler(ws):
        await peer.use(Conn(ws), getattr(ws, "path", None) or ws.request.path)

    server = await websockets.serve(handler, "127.0.0.1", 0, **options(ServerPerMessageDeflateFactory()))
    return server.sockets[0].getsockname()[1]


async def connect(url):
    offer = ClientPerMessageDeflateFactory(client_max_window_bits=True)
    async with websockets.connect(url, **options(offer)) as ws:
        await peer.use(Conn(ws), peer.path_of(url))


asyncio.run(peer.main(serve, connect))
