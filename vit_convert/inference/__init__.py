"""Running an artifact on pictures."""
