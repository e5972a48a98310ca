"""What needs pydantic-ai and the providers' SDKs, an optional extra: imported by the first call of such a provider.

Each provider's module has `connect(connection) -> Sdk`.
"""
