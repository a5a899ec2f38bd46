"""The protocol on paper: states and transitions, sequence numbers, profiles of stacks."""
