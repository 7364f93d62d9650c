"""Measurements, by ratios within one run.  ``make bench``; nothing here is a test."""
