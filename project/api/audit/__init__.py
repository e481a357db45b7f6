"""Who did what to whom, and when: written with each change. May import web and what lies below."""
