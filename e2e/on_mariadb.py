"""Run a command with DATABASE_TEST_URL on a MariaDB server that is there only for it.

Usage: python -m e2e.on_mariadb [--driver NAME] COMMAND [ARGUMENT ...]
"""

import os
import subprocess
import sys
from argparse import REMAINDER, ArgumentParser

from e2e.processes import mariadb

if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--driver", choices=["pymysql", "mysqldb"], default="pymysql")
    parser.add_argument("command", nargs=REMAINDER, metavar="COMMAND [ARGUMENT ...]")
    options = parser.parse_args()
    if not options.command:
        parser.error("say which command to run")
    with mariadb() as url:
        environment = {**os.environ, "DATABASE_TEST_URL": url.replace("pymysql", options.driver)}
        code = subprocess.run(options.command, env=environment).returncode
    sys.exit(code)
