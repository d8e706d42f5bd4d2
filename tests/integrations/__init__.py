"""Real libraries, trained for real: ``make integrations``."""
