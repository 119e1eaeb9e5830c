"""What is refused before it is understood: too big, too slow, too many."""

from dataclasses import dataclass

from fairlead.state.memory import MOST_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    max_body_bytes: int = 32 << 20
    """Anthropic's own limit for a request; the largest of the vendors'."""
    body_idle_s: float = 15.0
    """Between two pieces of a body."""
    body_grace_s: float = 10.0
    """From then on a body must have come at ``min_bytes_per_s``, whatever its length."""
    min_bytes_per_s: float = 1024.0
    """Of a body, and of an answer that waits for its reader; a modem of 1995 was faster."""
    header_timeout_s: float = 10.0
    """For a head, from its first byte; for the first one from the moment of connecting."""
    max_header_line_bytes: int = 8 << 10
    max_header_field_bytes: int = 8 << 10
    """nginx's buffer for one line has this size as well."""
    max_header_bytes: int = 32 << 10
    """Of the whole head; HAProxy and Caddy hold 16 KiB, Envoy 60."""
    max_headers: int = 100
    keep_alive_s: float = 75.0
    """Longer than a load balancer's usual 60 s, so that it is never we who close first."""
    write_idle_s: float = 30.0
    """A reader who takes next to nothing of what waits for it for so long has gone."""
    linger_s: float = 5.0
    """How long we go on reading what nobody wants, so that its sender can read our refusal."""
    max_in_flight: int = 2000
    """Requests that are being served."""
    max_answer_bytes: int = MOST_BYTES
    """Of all answers that wait for their end or for their caller."""
    max_bodies_bytes: int = MOST_BYTES
    """Of all bodies that are longer than what comes at once."""
    max_waiting: int = 1024
    """Requests that may arrive in one turn of the loop."""
    max_wait_s: float = 0.15
    """So long a request may wait to be looked at, for a while; see ``load``."""
    max_connections: int = 10_000
    """Each has a file descriptor, and a request takes another one to its endpoint."""
