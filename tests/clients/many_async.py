"""Many connections at once from one process: STACK ROUNDS, one key a line on standard input.

Every key has a connection of its own; all stay open from the first round to the last. With stack h2 all keys
share one connection. Stack clear is the openai SDK without TLS.
The model name is MODEL-ROUND-INDEX, so each request can be told from all others.
"""

import asyncio
import os
import ssl
import sys

STACK, ROUNDS = sys.argv[1], int(sys.argv[2])
KEYS = sys.stdin.read().split()
URL = "https://api.openai.com/v1/chat/completions"


def body(index, turn):
    prompt = "PROMPT-CANARY-51c9 " + "x" * (index * 37 % 3000)
    return {"model": f"many-{turn}-{index}", "messages": [{"role": "user", "content": prompt}]}


async def rounds(barrier, call, index):
    for turn in range(ROUNDS):
        await barrier.wait()
        await call(body(index, turn))


async def with_aiohttp(barrier, context, index, key):
    import aiohttp

    connector = aiohttp.TCPConnector(limit=1, ssl=context)
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers, raise_for_status=True) as session:

        async def call(data):
            async with session.post(URL, json=data) as response:
                await response.read()

        await rounds(barrier, call, index)
        await barrier.wait()


async def with_openai(barrier, context, index, key):
    import httpx2
    import openai

    transport = httpx2.AsyncClient(verify=context, limits=httpx2.Limits(max_connections=1), timeout=60)
    base = "http://api.openai.com/v1" if STACK == "clear" else None
    async with openai.AsyncOpenAI(api_key=key, base_url=base, http_client=transport, max_retries=0) as client:

        async def call(data):
            if index % 2:
                await client.chat.completions.create(**data)
                return
            options = {"include_usage": True}
            async for _ in await client.chat.completions.create(**data, stream=True, stream_options=options):
                pass

        await rounds(barrier, call, index)
        await barrier.wait()


async def with_h2(barrier, client, index, key):
    async def call(data):
        response = await client.post(URL, json=data, headers={"Authorization": f"Bearer {key}"})
        response.raise_for_status()
        assert response.http_version == "HTTP/2"

    await rounds(barrier, call, index)


async def together():
    """All keys on one connection, each request a stream of its own."""
    import httpx

    barrier = asyncio.Barrier(len(KEYS))
    async with httpx.AsyncClient(http2=True, limits=httpx.Limits(max_connections=1), timeout=60) as client:
        await asyncio.gather(*(with_h2(barrier, client, index, key) for index, key in enumerate(KEYS)))


async def main():
    if STACK == "h2":
        return await together()
    barrier = asyncio.Barrier(len(KEYS))
    context = ssl.create_default_context()
    one = {"aiohttp": with_aiohttp, "openai": with_openai, "clear": with_openai}[STACK]
    await asyncio.gather(*(one(barrier, context, index, key) for index, key in enumerate(KEYS)))


print(os.getpid(), flush=True)
asyncio.run(main())
