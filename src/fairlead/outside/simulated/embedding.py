"""Embeddings without a model: words hashed into a unit vector, so that like texts lie close."""

import hashlib
import math
import re

DIMENSIONS = 256
WORD = re.compile(r"\w+")


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A vector of length 1, the same for the same words whatever their order."""
    vector = [0.0] * dimensions
    for word in WORD.findall(text.lower()) or [""]:
        digest = hashlib.sha256(word.encode()).digest()
        at = int.from_bytes(digest[:4], "big") % dimensions
        vector[at] += 1.0 if digest[4] & 1 else -1.0
    length = math.sqrt(sum(value * value for value in vector))
    if not length:
        return [1.0, *vector[1:]]
    return [value / length for value in vector]
