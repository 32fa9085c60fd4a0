"""The routes, one module for each concern, with its `OPERATIONS` and its `blueprint(services)`."""
