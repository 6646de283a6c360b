"""One call with the anthropic SDK: KEY MODEL MODE."""

import asyncio
import os
import sys

import anthropic

KEY, MODEL, MODE = sys.argv[1:4]
MESSAGE = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "PROMPT-CANARY-51c9"}]}


def plain():
    client = anthropic.Anthropic(api_key=KEY)
    if MODE == "sync":
        client.messages.create(**MESSAGE)
    elif MODE == "stream":
        with client.messages.stream(**MESSAGE) as events:
            for _ in events:
                pass
    else:
        sys.exit(f"unknown mode {MODE}")


async def asynchronous():
    async with anthropic.AsyncAnthropic(api_key=KEY) as client:
        if MODE == "async":
            await client.messages.create(**MESSAGE)
        elif MODE == "async-stream":
            async with client.messages.stream(**MESSAGE) as events:
                async for _ in events:
                    pass
        else:
            sys.exit(f"unknown mode {MODE}")


print(os.getpid(), flush=True)
asyncio.run(asynchronous()) if MODE.startswith("async") else plain()
