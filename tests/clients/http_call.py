"""One chat call with a plain HTTP library: KEY MODEL LIBRARY."""

import asyncio
import os
import sys

KEY, MODEL, MODE = sys.argv[1:4]
URL = "https://api.openai.com/v1/chat/completions"
HEADERS = {"Authorization": f"Bearer {KEY}"}
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "PROMPT-CANARY-51c9"}]}
STREAM = BODY | {"stream": True, "stream_options": {"include_usage": True}}

print(os.getpid(), flush=True)
if MODE == "requests":
    import requests

    requests.post(URL, json=BODY, headers=HEADERS).raise_for_status()
elif MODE == "requests-stream":
    import requests

    with requests.post(URL, json=STREAM, headers=HEADERS, stream=True) as response:
        response.raise_for_status()
        for _ in response.iter_lines():
            pass
elif MODE == "httpx":
    import httpx

    httpx.post(URL, json=BODY, headers=HEADERS).raise_for_status()
elif MODE == "httpx-async":
    import httpx

    async def call():
        async with httpx.AsyncClient() as client:
            (await client.post(URL, json=BODY, headers=HEADERS)).raise_for_status()

    asyncio.run(call())
elif MODE in ("httpx-h2", "httpx-h2-stream"):
    import httpx

    with httpx.Client(http2=True) as client:
        body = STREAM if MODE == "httpx-h2-stream" else BODY
        response = client.post(URL, json=body, headers=HEADERS)
        response.raise_for_status()
        assert response.http_version == "HTTP/2"
elif MODE in ("aiohttp", "aiohttp-stream"):
    import aiohttp

    async def call():
        body = STREAM if MODE == "aiohttp-stream" else BODY
        async with aiohttp.ClientSession(raise_for_status=True) as session:
            async with session.post(URL, json=body, headers=HEADERS) as response:
                await response.read()

    asyncio.run(call())
else:
    sys.exit(f"unknown library {MODE}")
