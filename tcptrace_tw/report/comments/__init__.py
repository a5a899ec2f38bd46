"""What is said of single packets in a copy of the capture: state changes and findings at their frames."""
