"""Which addresses there are, and which speaks which dialect. Pure; knows no handler."""

from collections.abc import Mapping

DIALECT_OF_PATH = {
    "/v1/chat/completions": "openai_chat",
    "/v1/embeddings": "openai_embeddings",
    "/v1/messages": "anthropic_messages",
    "/v1/messages/count_tokens": "anthropic_count_tokens",
}

MODELS = "/v1/models"
METHODS = {
    "/": "GET",
    "/healthz": "GET",
    "/readyz": "GET",
    "/metrics": "GET",
    "/openapi.json": "GET",
    MODELS: "GET",
    f"{MODELS}/{{name}}": "GET",
    "/v1/route": "POST",
    **dict.fromkeys(DIALECT_OF_PATH, "POST"),
}
"""All there is, with the method that each takes; what takes GET takes HEAD too."""


def dialect_of(path: str, headers: Mapping[str, str]) -> str:
    """The dialect to answer in, whatever was asked: where the path does not tell, Anthropic's SDKs
    give themselves away by their version header."""
    known = DIALECT_OF_PATH.get(path)
    if known is not None:
        return known
    return "anthropic_messages" if "anthropic-version" in headers else "openai_chat"
