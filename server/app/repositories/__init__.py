"""All SQL: tenant scope and row locks in one place."""
