"""Benchmarks: what the library claims, measured."""
