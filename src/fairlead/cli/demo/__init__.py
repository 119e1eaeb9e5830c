"""The demo: an incident response in twenty steps, through a real gateway and simulated providers.

Starts what it needs on loopback, ends by itself and leaves nothing running.
"""
