"""Bytes nobody would send on purpose, thrown at everything that reads bytes. See __main__."""
