"""Several processes: distributed start, lost peers, the supervisor."""
