"""The result in Python."""
