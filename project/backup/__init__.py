"""Backup of all tables, and restore. May import every feature."""
