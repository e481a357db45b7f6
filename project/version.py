"""The version of the service, which stands in pyproject.toml alone.

gunicorn.conf.py runs this file for its master process, so it imports no other file of the project.
"""

import tomllib
from pathlib import Path

_PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

VERSION: str = tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]["version"]
