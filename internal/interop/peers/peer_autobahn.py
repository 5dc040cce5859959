"""The peer of Autobahn, on asyncio."""

import asyncio

from autobahn.asyncio import websocket as autobahn
from autobahn.websocket import compress

import peer


class Conn:
    """is a protocol of either role, and what use needs of it."""

    def onConnect(self, request):
        self.path = getattr(request, "path", None) or peer.path_of(self.factory.url)

    def onOpen(self):
        self.messages, self.pong = asyncio.Queue(), ""
        self.read = self.messages.get
        self.task = asyncio.create_task(peer.use(self, self.path))

    def onMessage(self, payload, isBinary):
        self.messages.put_nowait(payload if isBinary else payload.decode())

    def onPong(self, payload):
        self.pong = payload.decode()

    def onClose(self, wasClean, code, reason):
        self.code, self.reason = code, reason
        self.messages.put_nowait(None)

    async def send(self, message, fragments):
        binary = isinstance(message, bytes)
        message = message if binary else message.encode()
        if not fragments:
            self.sendMessage(message, binary)
            return
        self.beginMessage(binary)
        for part in peer.thirds(message):
            self.sendMessageFrame(part)
        self.endMessage()

    async def ping(self):
        self.sendPing(peer.PAYLOAD)

    async def close(self, code, reason):
        self.sendClose(code, reason)


class Server(Conn, autobahn.WebSocketServerProtocol):
    pass


class Client(Conn, autobahn.WebSocketClientProtocol):
    pass


def accept(offers):
    for offer in offers:
        if isinstance(offer, compress.PerMessageDeflateOffer):
            return compress.PerMessageDeflateOfferAccept(offer)


def accept_response(response):
    return compress.PerMessageDeflateResponseAccept(response)


async def serve():
    factory = autobahn.WebSocketServerFactory()
    factory.protocol = Server
    if peer.DEFLATE:
        factory.setProtocolOptions(perMessageCompressionAccept=accept)
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    return server.sockets[0].getsockname()[1]


async def connect(url):
    factory = autobahn.WebSocketClientFactory(url)
    factory.protocol = Client
    if peer.DEFLATE:
        offers = [compress.PerMessageDeflateOffer(True, True)]
        factory.setProtocolOptions(perMessageCompressionOffers=offers, perMessageCompressionAccept=accept_response)
    _, conn = await asyncio.get_running_loop().create_connection(factory, factory.host, factory.port)
    while not hasattr(conn, "task"):
        await asyncio.sleep(0.001)
    await conn.task


asyncio.run(peer.main(serve, connect))
