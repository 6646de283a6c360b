"""Many connections at once from one process, by a libcurl: LIBRARY ROUNDS, one key a line on standard input.

A thread and a handle for each key, so a connection of its own for each, open from the first round to the last. Debian's
libcurl-gnutls.so.4 has GnuTLS below it. The model name is many-ROUND-INDEX, so each request can be told from all others.
"""

import ctypes
import json
import os
import sys
import threading

LIBRARY, ROUNDS = sys.argv[1], int(sys.argv[2])
KEYS = sys.stdin.read().split()

curl = ctypes.CDLL(LIBRARY)
curl.curl_easy_init.restype = ctypes.c_void_p
curl.curl_slist_append.restype = ctypes.c_void_p
# curl.h: kinds of options, and of answers.
LONG, POINTER, FUNCTION = 0, 10_000, 20_000
URL, HTTP_HEADER, POST_FIELDS, WRITE, POST_SIZE, CA = POINTER + 2, POINTER + 23, POINTER + 15, FUNCTION + 11, LONG + 60, POINTER + 65
NO_SIGNAL, RESPONSE_CODE = LONG + 99, 0x200000 + 2
take = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)(
    lambda _data, size, count, _user: size * count
)
failures = []
together = threading.Barrier(len(KEYS))


def option(handle, name, value):
    value = ctypes.c_long(value) if isinstance(value, int) else value
    if curl.curl_easy_setopt(ctypes.c_void_p(handle), name, value) != 0:
        raise RuntimeError(f"option {name}")


def calls(index, key):
    handle = curl.curl_easy_init()
    headers = None
    for line in ("content-type: application/json", f"authorization: Bearer {key}"):
        headers = curl.curl_slist_append(ctypes.c_void_p(headers), line.encode())
    option(handle, URL, b"https://api.openai.com/v1/chat/completions")
    option(handle, HTTP_HEADER, ctypes.c_void_p(headers))
    option(handle, CA, os.environ["SSL_CERT_FILE"].encode())
    option(handle, NO_SIGNAL, 1)
    option(handle, WRITE, take)
    for turn in range(ROUNDS):
        content = "PROMPT-CANARY-51c9 " + "x" * (index * 37 % 3000)
        request = {"model": f"many-{turn}-{index}", "messages": [{"role": "user", "content": content}]}
        if index % 2 == 0:
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        body = json.dumps(request).encode()
        option(handle, POST_SIZE, len(body))
        option(handle, POST_FIELDS, body)
        together.wait()
        code, status = curl.curl_easy_perform(ctypes.c_void_p(handle)), ctypes.c_long()
        curl.curl_easy_getinfo(ctypes.c_void_p(handle), RESPONSE_CODE, ctypes.byref(status))
        if code != 0 or status.value != 200:
            failures.append(f"key {index}: code {code}, status {status.value}")
    curl.curl_easy_cleanup(ctypes.c_void_p(handle))


print(os.getpid(), flush=True)
curl.curl_global_init(ctypes.c_long(3))
threads = [threading.Thread(target=calls, args=one) for one in enumerate(KEYS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit("\n".join(failures[:3]) if failures else 0)
