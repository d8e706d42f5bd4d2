"""What the tests of the writers know, too."""

from tests.writers.conftest import reports as reports
