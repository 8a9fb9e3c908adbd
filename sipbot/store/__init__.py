"""Durable facts that processes and nodes share: call records, transfer intents, trunk events.

SQLAlchemy Core over SQLite (one machine) or PostgreSQL (several). Every repository takes a
``Store`` and raises ``StoreError`` and nothing else when the database fails.
"""
