"""The steps. Each names the one before it; ``sipbot.store.migrations.HEAD`` names the last."""
