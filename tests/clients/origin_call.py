"""One chat call with a key from somewhere: HOW MODEL [PATH]."""

import json
import os
import sys

import httpx

HOW, MODEL = sys.argv[1:3]
PATH = sys.argv[3] if len(sys.argv) > 3 else ""


def dotenv():
    import dotenv

    dotenv.load_dotenv(dotenv.find_dotenv(usecwd=True))
    return os.environ["OPENAI_API_KEY"]


def from_json():
    with open(PATH) as file:
        return json.load(file)["OPENAI_API_KEY"]


def raw():
    with open(PATH) as file:
        return file.read().strip()


def descriptor():
    # Opened by whoever started this, before.
    return sys.stdin.read().strip()


def environment():
    return os.environ["OPENAI_API_KEY"]


print(os.getpid(), flush=True)
KEY = {"dotenv": dotenv, "json": from_json, "raw": raw, "descriptor": descriptor, "environment": environment}[HOW]()
URL = "https://api.openai.com/v1/chat/completions"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "PROMPT-CANARY-51c9"}]}
httpx.post(URL, json=BODY, headers={"Authorization": f"Bearer {KEY}"}).raise_for_status()
