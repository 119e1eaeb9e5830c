"""Providers that are invented but really served: HTTP on loopback, answers made up from rules.

Reached like any other provider. They know nothing of the gateway in front of them.
"""
