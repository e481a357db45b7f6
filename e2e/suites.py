"""Print the make targets whose programs are on this machine, for `make test`.

What is left out is said in one line, with how to get it; with CI=true it is a failure.
"""

import os
import sys

from e2e.processes import find_chromium, find_program

ALWAYS = ["test-app", "test-server", "test-openapi", "test-newcomer"]

if __name__ == "__main__":
    needs = {
        "test-mariadb": (find_program("mariadbd"), "MariaDB", "mariadb-server"),
        "test-mysqlclient": (
            all(map(find_program, ("mariadbd", "mariadb_config", "gcc"))),
            "compiler and headers for mysqlclient",
            "default-libmysqlclient-dev gcc mariadb-server pkg-config python3-dev",
        ),
        "test-faults": (find_program("mariadbd"), "MariaDB", "mariadb-server"),
        "test-transfer": (find_program("mariadbd"), "MariaDB", "mariadb-server"),
        "test-nginx": (find_program("nginx"), "nginx", "nginx-light"),
        "test-page": (find_chromium(), "Chromium", "chromium"),
    }
    missing = {target: words for target, (found, *words) in needs.items() if not found}
    if missing:
        names = ", ".join(f"{target} (no {name})" for target, (name, _) in missing.items())
        packages = " ".join(sorted({each for _, many in missing.values() for each in many.split()}))
        print(f"Left out: {names}. To have them: apt-get install {packages}", file=sys.stderr)
        if os.environ.get("CI") == "true":
            sys.exit("With CI=true nothing may be left out.")
    print(*ALWAYS, *(target for target in needs if target not in missing))
