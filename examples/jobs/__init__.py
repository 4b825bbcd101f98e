"""Nine jobs, each in one file: copy it, and change three names. docs/jobs.md shows them all."""
