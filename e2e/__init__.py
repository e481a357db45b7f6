"""What needs a browser, a server process or a database server of its own.

Each module is a unittest suite with a make target; ``parts.py`` finds the programs they need.
"""
