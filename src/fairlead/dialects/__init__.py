"""Floor 1. Wire formats, pure: one dialect per file, used in both directions. No IO, no clock."""

from fairlead.dialects.anthropic_messages import ANTHROPIC_COUNT, ANTHROPIC_MESSAGES
from fairlead.dialects.dialect import Dialect
from fairlead.dialects.openai_chat import OPENAI_CHAT
from fairlead.dialects.openai_embeddings import OPENAI_EMBEDDINGS

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (OPENAI_CHAT, OPENAI_EMBEDDINGS, ANTHROPIC_MESSAGES, ANTHROPIC_COUNT)
}
