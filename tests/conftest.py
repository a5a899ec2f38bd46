"""What holds for all tests: examples may take their time, because a busy machine must not fail a property."""

from hypothesis import settings

settings.register_profile("project", deadline=None)
settings.load_profile("project")
