"""Errors that the command line turns into exit codes; cheap to import."""


class BrokenRunError(RuntimeError):
    """A run that began and did not come to its end: its output is no result."""
