"""What builds and releases the package; nothing of it is published in the wheel."""
