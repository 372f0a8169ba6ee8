"""Errors, sorted by the caller's next step."""

from __future__ import annotations

from cairn import _cairn


class CairnError(Exception):
    """An error of the engine.

    ``code`` is its stable name ("conflict"). ``retry`` says whether the same call may be made again ("no", "yes",
    "same_snapshot_id"). ``advice`` is the next step, and ``detail`` the database's own message.
    """

    code: str = "internal"
    retry: str = "no"
    advice: str = ""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail

    def __str__(self) -> str:
        detail = f" [{self.detail}]" if self.detail else ""
        return f"{self.message}{detail}. {self.advice}" if self.advice else f"{self.message}{detail}"


class InvalidArgumentError(CairnError, ValueError):
    pass


class InvalidStateError(CairnError, ValueError):
    pass


class LimitExceededError(CairnError, ValueError):
    pass


class ConfigError(CairnError, ValueError):
    pass


class NotFoundError(CairnError, LookupError):
    pass


class ConflictError(CairnError):
    pass


class AlreadyExistsError(CairnError):
    pass


class CorruptError(CairnError):
    pass


class UnavailableError(CairnError):
    pass


class OutcomeUnknownError(CairnError):
    pass


class StorageFullError(CairnError):
    pass


class ReadOnlyError(CairnError):
    pass


class IncompatibleError(CairnError):
    pass


class ClosedError(CairnError):
    pass


class AgentFailedError(CairnError):
    pass


class InternalError(CairnError):
    pass


class UnauthenticatedError(CairnError):
    pass


class PermissionDeniedError(CairnError):
    pass


class CallCancelledError(CairnError):
    pass


_by_code: dict[str, type[CairnError]] = {}

# The classes are written out above for type checkers. Their meaning comes from the engine's error table.
for _name, _class, _retry, _advice in _cairn.error_rows():
    _by_code[_name] = globals()[_class]
    _by_code[_name].code = _name
    _by_code[_name].retry = _retry
    _by_code[_name].advice = _advice
    _by_code[_name].__doc__ = _advice


def exception_of(code: str, message: str, detail: str, advice: str = "") -> CairnError:
    error = _by_code[code](message, detail)
    if advice and advice != error.advice:
        error.advice = advice  # of this case only
    return error
