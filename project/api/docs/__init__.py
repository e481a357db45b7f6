"""What tells others how to use the API: its description, and a page that shows it.

May import web and what lies below.
"""

from project.api.docs.views import bp

__all__ = ["bp"]
