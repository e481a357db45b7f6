"""Run a command with DATABASE_TEST_URL on a MariaDB server that is there only for it.

Usage: python -m e2e.on_mariadb [--driver NAME] COMMAND [ARGUMENT ...]

NAME is pymysql, unless told otherwise, or mysqldb.
"""

import os
import subprocess
import sys

from e2e.processes import mariadb

if __name__ == "__main__":
    driver, command = "pymysql", sys.argv[1:]
    if command[:1] == ["--driver"]:
        driver, command = command[1], command[2:]
    if not command:
        sys.exit(__doc__)
    with mariadb() as url:
        environment = {**os.environ, "DATABASE_TEST_URL": url.replace("pymysql", driver)}
        code = subprocess.run(command, env=environment).returncode
    sys.exit(code)
