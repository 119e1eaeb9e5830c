"""The simulated providers' own record of what reached them."""

import hashlib

from fairlead.outside.simulated.log import Arrival, Served, ServedLog


def test_records_what_arrived_and_which_markers_stood_in_it() -> None:
    log = ServedLog(watched=("MARKER7", "OTHER8"), clock=lambda: 12.5)
    body = b'{"model":"sim-local","messages":[{"content":"case MARKER7"}]}'

    log.add("sim-house", "local", Arrival("/v1/messages", body, "sim-local", "slow"), 200)

    expected = Served(
        at_ms=12_500,
        provider="sim-house",
        model="sim-local",
        endpoint="sim-house/sim-local",
        zone="local",
        path="/v1/messages",
        status=200,
        fault="slow",
        body_sha256=hashlib.sha256(body).hexdigest(),
        markers=("MARKER7",),
    )
    assert log.entries == (expected,)


def test_counts_marked_requests_outside_their_zone() -> None:
    log = ServedLog(watched=("MARKER7",))
    marked, plain = Arrival("/", b"MARKER7"), Arrival("/", b"nothing")
    log.add("sim-house", "local", marked, 200)
    log.add("sim-north", "cloud", plain, 200)

    assert log.outside("local") == ()

    log.add("sim-north", "cloud", marked, 0)

    assert [entry.provider for entry in log.outside("local")] == ["sim-north"]
