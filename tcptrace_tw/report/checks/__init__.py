"""What a check found, in the formats of those who read it."""
