"""What every web integration does, whatever the framework: from a request's headers to a visitor, and back."""
