"""Features and the value that a typical row has for each. `app.domain` and `app.ui` both apply the rule."""

TYPICAL_VALUES = [
    ({"choices": (1.0, 3.0), "median": 2.0}, 1.0),
    ({"median": 2.0, "minimum": 0.0, "maximum": 9.0}, 2.0),
    ({"minimum": 0.0, "maximum": 4.0}, 2.0),
    ({"minimum": 3.0}, 3.0),
    ({"boolean": True, "median": 0.5, "minimum": 0.0, "maximum": 1.0}, 0.0),
    ({"boolean": True, "median": 1.0, "minimum": 0.0, "maximum": 1.0}, 1.0),
    ({"boolean": True}, 0.0),
    ({}, 0.0),
    ({"kind": "categorical", "categories": ("x", "y")}, "x"),
    ({"kind": "categorical", "categories": ("x", "y"), "nullable": True}, "x"),
    ({"kind": "categorical", "open_categories": True, "nullable": True}, None),
    ({"kind": "categorical", "open_categories": True}, ""),
    ({"kind": "categorical", "open_categories": True, "nullable": True, "dates_like": "2026-03-01"}, "2026-03-01"),
]
