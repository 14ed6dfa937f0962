"""Random changes to what the discriminator sees: pure, differentiable, one draw per image."""
