"""Chaos: a training that is disturbed in every way and killed again and again.

Writers raise at random, log folders vanish, batches are empty or full of NaN, a latent collapses
and recovers, and every few hundred steps the process is killed and goes on from its checkpoint.
What it leaves must be what an undisturbed run leaves.
"""
