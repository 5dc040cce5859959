"""The peer of aiohttp. It answers Pings itself, to see Pongs."""

import asyncio

import aiohttp
from aiohttp import WSMsgType, web

import peer


class Conn:
    def __init__(self, ws):
        self.ws, self.pong, self.code, self.reason = ws, "", None, ""

    async def send(self, message, fragments):
        if isinstance(message, str):
            await self.ws.send_str(message)
        else:
            await self.ws.send_bytes(message)

    async def read(self):
        while True:
            msg = await self.ws.receive()
            if msg.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                return msg.data
            if msg.type == WSMsgType.PING:
                await self.ws.pong(msg.data)
            elif msg.type == WSMsgType.PONG:
                self.pong = msg.data.decode()
            elif msg.type == WSMsgType.CLOSE:
                self.code, self.reason = msg.data, msg.extra
                return None
            elif msg.type == WSMsgType.ERROR:
                raise msg.data
            else:
                return None

    async def ping(self):
        await self.ws.ping(peer.PAYLOAD)

    async def close(self, code, reason):
        await self.ws.close(code=code, message=reason.encode())
        self.code, self.reason = self.ws.close_code, reason


async def serve():
    async def handler(request):
        ws = web.WebSocketResponse(autoping=False, compress=peer.DEFLATE, max_msg_size=peer.LIMIT)
        await ws.prepare(request)
        await peer.use(Conn(ws), request.path)
        return ws

    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner.addresses[0][1]


async def connect(url):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(
            url, autoping=False, compress=15 if peer.DEFLATE else 0, max_msg_size=peer.LIMIT
        ) as ws:
            await peer.use(Conn(ws), peer.path_of(url))


asyncio.run(peer.main(serve, connect))
