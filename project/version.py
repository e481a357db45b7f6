"""The version of the service, defined in pyproject.toml only.

gunicorn.conf.py loads this file in the master process, so it imports no other file of the project.
"""

import tomllib
from pathlib import Path

_PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

VERSION: str = tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]["version"]
