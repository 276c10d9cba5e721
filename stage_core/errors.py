"""What a caller may want to catch apart from ValueError, which every other bad argument raises."""


class PlanError(ValueError):
    """A script or storyboard file that cannot be read; says the line where one is known."""

    def __init__(self, message: str, line: int | None = None):
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line


class AnswerError(PlanError):
    """The answer of a language model that is no plan. `retry` is what to send back to it."""

    def __init__(self, reason: str, retry: str):
        super().__init__(f"{reason}; send this back to the language model: {retry}")
        self.reason, self.retry = reason, f"{reason}. {retry}"


class StorageError(OSError):
    """The film's folder cannot be read or written."""


class MissingPackageError(ImportError):
    """An optional package is not installed; the message says how to install it."""
