"""What those who run the service ask it. May import web and what lies below."""

from project.api.ops.views import bp

__all__ = ["bp"]
