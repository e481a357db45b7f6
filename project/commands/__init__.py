"""The commands, as functions that call services; manage.py only registers them.

A command that fails raises SystemExit with the reason; the exit code is then 1.
"""
