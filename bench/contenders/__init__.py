"""Servers to measure, each in processes of its own; how to start them, and what they promise."""
