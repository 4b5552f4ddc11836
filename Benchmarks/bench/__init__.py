"""What the benchmark scripts share: the machine, the programs under test, peers, and the report.

The scripts in the directory above are the commands; each part here has `measure(options)`, which
returns the figures that it saw. Engines, guests and testpmd come from the integration tests' harness.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "IntegrationTests"))
