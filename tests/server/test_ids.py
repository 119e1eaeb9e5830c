"""What a request id looks like."""

import re

from fairlead.server.ids import new_id


def test_an_id_is_24_hex_digits_and_begins_with_the_time() -> None:
    assert re.fullmatch(r"019abc45de00[0-9a-f]{12}", new_id(0x019ABC45DE00 / 1000))


def test_ids_of_one_instant_differ() -> None:
    assert len({new_id(1.0) for _ in range(1000)}) == 1000
