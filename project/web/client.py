"""From where the current request comes, as far as its client says."""

from flask import has_request_context, request


def address() -> str | None:
    """Return the client's IP address; None outside a request. A proxy may pass on any text."""
    return request.remote_addr or None if has_request_context() else None


def user_agent() -> str | None:
    """Return how the client calls itself (RFC 9110 section 10.1.5); None if it does not say."""
    return request.headers.get("User-Agent") or None if has_request_context() else None
