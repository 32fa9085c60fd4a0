"""Protocols of other model servers: one file each, and its line in `table.py`.

Each translates to and from the one use case, `app.services.serving.predictor`: checks, routing, ids and recording are
those of `/predict`.
"""
