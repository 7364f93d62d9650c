"""Measurements beside what people would use instead.  ``make bench``; nothing here is a test."""
