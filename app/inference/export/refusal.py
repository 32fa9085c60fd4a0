"""Why a part of an estimator cannot be exported."""


class NotExportable(Exception):
    """This part has no exact counterpart here; another way of serving is tried."""
