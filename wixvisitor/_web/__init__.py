"""What all web integrations share: finds the visitor of a request's headers, and writes the answer's headers."""
