"""How good are the images? Metrics with the protocol that each number was measured by."""
