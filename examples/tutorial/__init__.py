"""The shop that docs/tutorial.md builds."""
