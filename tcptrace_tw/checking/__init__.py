"""What a check does with findings: policy, known findings, and whether one of them reaches the threshold."""
