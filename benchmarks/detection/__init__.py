"""The detection benchmark: real trainings, their truth, and what the detector said of them."""
