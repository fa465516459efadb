"""A WebSocket service on the `websockets` library, over TLS with client certificates: websocket_service.py CERTIFICATE KEY CA.

Offers HTTP/2 by ALPN, which it does not speak. What it is called by is what it does.
"""

import asyncio
import json
import ssl
import sys
import threading
from http import HTTPStatus

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

CERTIFICATE, KEY, AUTHORITY = sys.argv[1:]
# How the connections ended on which clients closed: code and reason.
CLOSED = asyncio.Queue()


async def refuse(connection, request):
    if request.path == "/v1/refused":
        return connection.respond(HTTPStatus.FORBIDDEN, "not here\n")
    if request.path == "/v1/page":
        return connection.respond(HTTPStatus.OK, "a page\n")


def told(connection):
    subject = dict(pair for part in connection.transport.get_extra_info("peercert")["subject"] for pair in part)
    fields = [[name.lower(), value] for name, value in connection.request.headers.raw_items()]
    return json.dumps({"path": connection.request.path, "subject": subject["commonName"], "fields": fields})


async def talk(connection):
    path = connection.request.path
    try:
        if path == "/v1/told":
            await connection.send(told(connection))
        elif path == "/v1/closes":
            await connection.recv()
            await connection.close(4321, "enough of it")
        elif path == "/v1/closed":
            await connection.send(json.dumps(await CLOSED.get()))
        elif path == "/v1/pings":
            await (await connection.ping(b"are you there"))
            await connection.send("it is there")
        else:
            async for message in connection:
                await connection.send(message)
    except ConnectionClosed:
        pass
    if path == "/v1/echo":
        await connection.wait_closed()
        await CLOSED.put([connection.close_code, connection.close_reason])


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    context.load_verify_locations(AUTHORITY)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2", "http/1.1"])
    choose = lambda connection, offered: next((one for one in ("second.v1", "first.v1") if one in offered), None)
    settings = {"process_request": refuse, "select_subprotocol": choose, "max_size": None}
    async with serve(talk, "127.0.0.1", 0, ssl=context, **settings) as server:
        print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
        ended = asyncio.get_running_loop().create_future()
        stop = lambda: (sys.stdin.read(), ended.get_loop().call_soon_threadsafe(ended.set_result, None))
        threading.Thread(target=stop, daemon=True).start()
        await ended


asyncio.run(main())
