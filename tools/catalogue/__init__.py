"""The parts of ``tools/compile_catalogue.py``: two published lists of prices in, one file out."""
