"""Analysis: arrays in, arrays out; figures take data and say where they were written."""
