"""The errors a user can cause or meet; anything else that is raised is a bug and keeps its traceback."""


class TcptraceError(Exception):
    """Base of the errors that are told to the user in one line."""


class CaptureError(TcptraceError):
    """A capture cannot be read at all: missing, not a capture, or no frame of it can be had.

    A message says where, what, and what to do.
    """


class UsageError(TcptraceError):
    """An option, a rule id or a setting is wrong."""
