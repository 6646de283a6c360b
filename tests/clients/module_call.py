"""One call with a Python module that has a TLS library of its own: KEY MODEL MODE, where the mode names the module."""

import asyncio
import os
import sys

key, model, mode = sys.argv[1:]
URL = "https://api.openai.com/v1/chat/completions"
BODY = {"model": model, "messages": [{"role": "user", "content": "PROMPT-CANARY-51c9"}]}
HEADERS = {"authorization": f"Bearer {key}"}
AUTHORITY = os.environ["SSL_CERT_FILE"]


def with_curl_cffi():
    from curl_cffi import requests

    answer = requests.post(URL, json=BODY, headers=HEADERS, impersonate="chrome", verify=AUTHORITY)
    return answer.status_code


async def with_rnet():
    import rnet

    # It takes no authority of its own; the endpoint is this host's.
    answer = await rnet.Client(verify=False).post(URL, json=BODY, headers=HEADERS)
    await answer.text()
    return int(str(answer.status))


status = with_curl_cffi() if mode == "curl_cffi" else asyncio.run(with_rnet())
sys.exit(0 if status == 200 else f"status {status}")
