"""Sends a file by POST with one of Python's HTTP clients, and prints the status: upload.py CLIENT URL FILE."""

import asyncio
import sys


def with_requests(url, body):
    import requests

    return requests.post(url, data=body).status_code


def with_aiohttp(url, body):
    import aiohttp

    async def post():
        async with aiohttp.ClientSession(trust_env=True) as session, session.post(url, data=body) as answer:
            await answer.read()
            return answer.status

    return asyncio.run(post())


client, url, file = sys.argv[1:]
with open(file, "rb") as body:
    print({"requests": with_requests, "aiohttp": with_aiohttp}[client](url, body))
