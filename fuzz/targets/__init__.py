"""One file for each reader: ``check(data)`` raises where a promise is broken, ``SEEDS`` are good
inputs to start from. The tests damage the seeds a little, ``make fuzz`` for as long as one likes.
"""
