"""What the documentation site needs beside MkDocs: copies of the pages, and how docstrings are read."""
