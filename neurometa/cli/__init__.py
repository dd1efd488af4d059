"""The command line: parsing with tyro, progress and tables with rich."""
