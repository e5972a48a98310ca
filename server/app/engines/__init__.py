"""The engines in wheels: PostgreSQL, Valkey and a local language model, started and watched as child processes."""
