"""What the documentation site needs beside Zensical: copies of the pages, and how docstrings are read."""
