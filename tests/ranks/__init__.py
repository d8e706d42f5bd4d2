"""Several processes that watch one training together, over gloo on the CPU."""
