"""Small programs that use wixvisitor; see README.md."""
