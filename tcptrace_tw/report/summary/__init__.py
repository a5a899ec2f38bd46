"""Rows to what a report says, as data."""
