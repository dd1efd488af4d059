"""A comparison as a page that people read."""
