"""What the peers in Python share: their arguments, the messages, and what the path
of a URL asks for. README.md describes it."""

import asyncio
import json
import os
import sys
import threading

ROLE, DIRECTORY = sys.argv[1:3]
DEFLATE = "deflate" in sys.argv[3:]
LIMIT = 64 << 20
PAYLOAD = b"are you there?"


def corpus():
    """yields the messages, text as str and binary ones as bytes."""
    with open(os.path.join(DIRECTORY, "data"), "rb") as f:
        data = f.read()
    with open(os.path.join(DIRECTORY, "messages")) as lines:
        for line in lines:
            kind, offset, length = line.split()
            part = data[int(offset) : int(offset) + int(length)]
            yield part.decode() if kind == "text" else part


def thirds(message):
    """returns the fragments of a message."""
    n = len(message) // 3
    return [message[:n], message[n : 2 * n], message[2 * n :]]


def tell(**line):
    print(json.dumps(line), flush=True)


async def use(conn, path):
    """does what path asks for, and tells what came of it."""
    act, _, code = path.strip("/").partition("/")
    report = {"messages": 0}
    try:
        if act == "close":
            await conn.close(int(code), "Grüße, " + code)
        elif act == "ping":
            await conn.ping()
        elif act in ("send", "fragments"):
            for message in corpus():
                await conn.send(message, act == "fragments")
                if await conn.read() != message:
                    raise ValueError(f"message {report['messages']} has not come back")
                report["messages"] += 1
            await conn.close(1000, "done")
        while (message := await conn.read()) is not None:
            report["messages"] += 1
            if act == "echo":
                await conn.send(message, False)
    except Exception as e:
        report["error"] = repr(e)
    tell(code=conn.code, reason=conn.reason, pong=conn.pong, **report)


def path_of(url):
    return "/" + url.split("/", 3)[3]


async def main(serve, connect):
    """runs serve(), which returns a port, or connect(url) for each line of input."""
    if ROLE == "server":
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        tell(port=await serve())
        await asyncio.Event().wait()
    while url := (await asyncio.to_thread(sys.stdin.readline)).strip():
        try:
            await connect(url)
        except Exception as e:
            tell(error=repr(e))
