"""What Fairlead costs: CPU time a request, with nginx as the floor. Run ``python -m bench``."""
