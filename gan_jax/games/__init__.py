"""Games: which networks exist, who plays, and for what loss."""
