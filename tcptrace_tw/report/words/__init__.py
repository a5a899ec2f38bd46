"""Values and findings in words."""
