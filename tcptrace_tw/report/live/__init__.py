"""What is said while a capture goes on: the state of now, and findings as they become certain."""
