"""A world in one thread: the gateway's real parts; time, network, disk and crashes by a seed."""
