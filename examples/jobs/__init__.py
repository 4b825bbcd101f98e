"""Nine jobs, each in one file: copy it, and change three names. docs/how-to/jobs.md shows them all."""
