"""The routes, a concern a module: each has its `OPERATIONS` and `blueprint(services)`."""
