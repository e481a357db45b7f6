"""scim2-models, behind one module."""

import subprocess
import sys
from unittest import TestCase

LOADED = "import sys, project; print('scim2_models' in sys.modules)"


class StartTests(TestCase):
    """What a start of the service does without."""

    def test_start_does_not_load_the_library(self):
        found = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)

        self.assertEqual(found.stdout.strip(), "False", found.stderr)
