"""Faults strike the model they were set for, as often as they were told to."""

from fairlead.outside.simulated.faults import Fault, Faults


def test_strikes_until_cleared() -> None:
    faults = Faults()
    faults.set("sim-mid", Fault("down"))

    assert [faults.strike("sim-mid"), faults.strike("sim-large")] == [Fault("down"), None]

    faults.clear("sim-mid")

    assert faults.strike("sim-mid") is None


def test_strikes_a_number_of_times() -> None:
    faults = Faults()
    faults.set("sim-mid", Fault("cut", times=2))

    struck = [faults.strike("sim-mid") is not None for _ in range(3)]

    assert struck == [True, True, False]


def test_a_star_strikes_all_but_a_model_with_its_own() -> None:
    faults = Faults()
    faults.set("*", Fault("down"))
    faults.set("sim-mid", Fault("slow"))

    assert faults.strike("sim-large") == Fault("down")
    assert faults.strike("sim-mid") == Fault("slow")

    faults.clear()

    assert faults.strike("sim-mid") is None


def test_only_retirement_takes_a_model_off_the_list() -> None:
    faults = Faults()
    faults.set("sim-mid", Fault("retired"))
    faults.set("sim-large", Fault("down"))

    assert faults.retired("sim-mid")
    assert not faults.retired("sim-large")
