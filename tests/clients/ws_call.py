"""Three turns on one WebSocket: KEY MODEL MODE.

With asyncio: the threads of websockets.sync read and write one TLS object at once, for which CPython 3.11 has no lock.
"""

import asyncio
import json
import os
import sys

from websockets.asyncio.client import connect

KEY, MODEL, MODE = sys.argv[1:4]
PROMPT = "PROMPT-CANARY-51c9"
ENDS = ("response.completed", "response.done")
REALTIME = MODE.startswith("realtime")
URL = f"wss://api.openai.com/v1/realtime?model={MODEL}" if REALTIME else "wss://api.openai.com/v1/responses"

print(os.getpid(), flush=True)
compression = "deflate" if MODE.endswith("-deflate") else None
headers = {"Authorization": f"Bearer {KEY}"}


async def main():
    async with connect(URL, additional_headers=headers, compression=compression) as socket:
        for turn in range(3):
            if REALTIME:
                item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": PROMPT}]}
                await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
                await socket.send(json.dumps({"type": "response.create"}))
            else:
                prompt = PROMPT + " again" * 200 * turn
                body = {"type": "response.create", "model": f"{MODEL}-{turn}", "input": prompt}
                await socket.send(json.dumps(body))
            while json.loads(await socket.recv())["type"] not in ENDS:
                pass


asyncio.run(main())
