"""HTML pages on runs, each one self-contained file: the report of a run, the comparison of some."""
