"""Data sets as random access sources, their order, and the two paths to the device."""
