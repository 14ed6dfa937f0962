"""What a trained run is used for: samples, ways between them, projections, reconstructions."""
