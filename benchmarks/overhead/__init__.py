"""What watching costs: a training with and without the monitor, in turns.

``run`` measures the grid, the baselines, emission, counts and import, in about eight minutes, and
writes ``results/``; ``soak`` watches 100,000 steps; ``report`` writes the tables again from the
figures that are kept; ``picture`` draws them. What needs a GPU is in :mod:`.gpu`.
"""
