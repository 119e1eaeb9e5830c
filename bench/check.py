"""One answer looked at closely before the load: a wrong answer given fast is no result."""

import json
import urllib.request

from bench.floor import CHUNKS, TEXT


def check_answer(url: str, body: object, key: str, stream: bool) -> None:
    """Raises SystemExit if the answer is not whole."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        text = answer.read().decode()
    whole = whole_stream(text) if stream else whole_completion(text)
    if not whole:
        raise SystemExit(f"bench: not the whole answer from {url}:\n{text[:2000]}")


def whole_completion(text: str) -> bool:
    return bool(json.loads(text)["choices"][0]["message"]["content"] == TEXT)


def whole_stream(text: str) -> bool:
    frames = [frame.removeprefix("data: ") for frame in text.split("\n\n") if frame]
    deltas = [
        choice["delta"].get("content")
        for frame in frames
        if frame != "[DONE]"
        for choice in json.loads(frame)["choices"]
    ]
    return frames[-1] == "[DONE]" and deltas.count(" token") == CHUNKS
