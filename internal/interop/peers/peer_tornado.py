"""The peer of Tornado."""

import asyncio

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler, websocket_connect

import peer

COMPRESSION = {} if peer.DEFLATE else None


class Conn:
    def __init__(self, ws, read):
        self.ws, self.read, self.pong = ws, read, ""

    async def send(self, message, fragments):
        await self.ws.write_message(message, binary=isinstance(message, bytes))

    async def ping(self):
        self.ws.ping(peer.PAYLOAD)

    def on_pong(self, data):
        self.pong = data.decode()

    async def close(self, code, reason):
        self.ws.close(code, reason)

    @property
    def code(self):
        return self.ws.close_code

    @property
    def reason(self):
        return self.ws.close_reason


class Handler(WebSocketHandler):
    def get_compression_options(self):
        return COMPRESSION

    def check_origin(self, origin):
        return True

    async def open(self, *args):
        self.messages = asyncio.Queue()
        conn = Conn(self, self.messages.get)
        self.on_pong = conn.on_pong
        self.task = asyncio.create_task(peer.use(conn, self.request.path))

    def on_message(self, message):
        self.messages.put_nowait(message)

    def on_close(self):
        self.messages.put_nowait(None)


async def serve():
    sockets = bind_sockets(0, "127.0.0.1")
    app = Application([("/.*", Handler)], websocket_max_message_size=peer.LIMIT)
    HTTPServer(app).add_sockets(sockets)
    return sockets[0].getsockname()[1]


async def connect(url):
    ws = await websocket_connect(url, compression_options=COMPRESSION, max_message_size=peer.LIMIT)
    conn = Conn(ws, ws.read_message)
    ws.on_pong = conn.on_pong
    await peer.use(conn, peer.path_of(url))


asyncio.run(peer.main(serve, connect))
