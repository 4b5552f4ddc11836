"""What the integration tests and benchmarks stand on: an engine, guests, testpmd, and a broom.

A test is an executable file `NN_what_it_shows` that ends in `run(main)`; `main` gets a `Test`,
whose methods make engines, guests and clients that are all gone when the test is over.
"""

from .accelerator import accelerator
from .engine import Engine
from .guest import Guest
from .netmap import Programs
from .process import Failed, Skipped, eventually
from .qmp import QMP, QMPError
from .shim import Shim
from .test import Test, run
from .testpmd import Testpmd, virtio_user, vhost

__all__ = [
    "Engine", "Failed", "Guest", "Programs", "QMP", "QMPError", "Shim", "Skipped", "Test", "Testpmd",
    "accelerator", "eventually", "run", "vhost", "virtio_user",
]
