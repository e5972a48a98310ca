"""Live streams: what drivers publish through Valkey, and the hub that fans it out to viewers."""
