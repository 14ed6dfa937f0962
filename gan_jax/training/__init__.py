"""The train step, its state, how it is mapped over devices, and the loop around it."""
