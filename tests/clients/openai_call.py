"""One call with the openai SDK: KEY MODEL MODE."""

import asyncio
import os
import sys

import openai

KEY, MODEL, MODE = sys.argv[1:4]
PROMPT = "PROMPT-CANARY-51c9"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def plain():
    client = openai.OpenAI(api_key=KEY)
    if MODE == "sync":
        client.chat.completions.create(**CHAT)
    elif MODE == "stream":
        for _ in client.chat.completions.create(**CHAT, **STREAM):
            pass
    elif MODE == "stream-without-usage":
        for _ in client.chat.completions.create(**CHAT, stream=True):
            pass
    elif MODE == "responses":
        client.responses.create(model=MODEL, input=PROMPT)
    elif MODE == "responses-stream":
        for _ in client.responses.create(model=MODEL, input=PROMPT, stream=True):
            pass
    elif MODE == "embeddings":
        client.embeddings.create(model=MODEL, input=PROMPT, encoding_format="float")
    else:
        sys.exit(f"unknown mode {MODE}")


async def asynchronous():
    async with openai.AsyncOpenAI(api_key=KEY) as client:
        if MODE == "async":
            await client.chat.completions.create(**CHAT)
        elif MODE == "async-stream":
            async for _ in await client.chat.completions.create(**CHAT, **STREAM):
                pass
        else:
            sys.exit(f"unknown mode {MODE}")


print(os.getpid(), flush=True)
try:
    asyncio.run(asynchronous()) if MODE.startswith("async") else plain()
except openai.AuthenticationError:
    print("refused")
