"""What a client is told of an error."""

from hlens.errors import HlensError
from hlens.server.bodies import RequestError
from hlens.server.desk import FullError, StoppedError
from hlens.server.writing import EngineError


def refusal_of(error: Exception) -> RequestError:
    """What the client is told of an error: what is its own, and no more."""
    if isinstance(error, ExceptionGroup):  # of readings that were asked for together
        return refusal_of(error.exceptions[0])
    if isinstance(error, RequestError):
        return error
    if isinstance(error, FullError):
        return RequestError(429, "queue_full", str(error))
    if isinstance(error, StoppedError):
        return RequestError(503, "stopped", "the server is shutting down, or its engine has failed")
    if isinstance(error, HlensError):
        return RequestError(400, "invalid_value", str(error))
    code = "engine_error" if isinstance(error, EngineError) else "internal_error"
    return RequestError(500, code, "the server could not answer; its log says more")
