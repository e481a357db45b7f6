"""Run a command with DATABASE_TEST_URL on a MariaDB server that is there only for it.

Usage: python -m e2e.on_mariadb COMMAND [ARGUMENT ...]
"""

import os
import subprocess
import sys

from e2e.processes import mariadb

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with mariadb() as url:
        environment = {**os.environ, "DATABASE_TEST_URL": url}
        code = subprocess.run(sys.argv[1:], env=environment).returncode
    sys.exit(code)
