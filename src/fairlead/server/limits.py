"""What is refused before it is understood: too big, too slow, too many."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    max_body_bytes: int = 32 << 20
    """Anthropic's own limit for a request; the largest of the vendors'."""
    body_timeout_s: float = 60.0
    """nginx and Caddy allow a body 60 s between two reads; we allow it for the whole."""
    max_header_line_bytes: int = 8 << 10
    max_header_field_bytes: int = 16 << 10
    """A session cookie and a trace context fit; HAProxy's and Caddy's buffers have this size."""
    keep_alive_s: float = 75.0
    """Longer than a load balancer's usual 60 s, so that it is never we who close first."""
    linger_s: float = 5.0
    """How long we go on reading what nobody wants, so that its sender can read our refusal."""
    max_in_flight: int = 2000
