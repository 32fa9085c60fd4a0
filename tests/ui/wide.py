"""What an api answers with many versions, features and classes, and with long names, some of them in other scripts."""

from tests.ui import answers
from tests.ui.answers import NOW

LONG = "a-version-trained-again-after-the-supplier-changed-its-sensors-in-november-2026"
VERSIONS = ["v1", "v2", LONG, *(f"candidate-{number:02}-of-november" for number in range(4, 13))]
LEVELS = [f"Zulieferer {number:03} – 株式会社サンプル電子部品製造 ({number} of 200)" for number in range(200)]
CLASSES = [
    "Συναρμολόγηση εξαρτημάτων με ελαττωματική σύνδεση στο κάτω μέρος της πλακέτας",
    "部品の表面に微細な傷があり、出荷前に再検査が必要であると判断されたもの（要再検査品）",
    "عيب في اللحام يتطلب إعادة الفحص قبل الشحن إلى العميل النهائي في الموعد المحدد",
    *(f"defect of the kind {number:02}: found at the last station before the parcel is packed" for number in range(37)),
]
NAMES = [
    "temperature_of_the_lower_bearing_in_the_second_stage_during_the_last_ten_minutes",
    "напряжение_на_выходе_выпрямителя_после_второй_ступени_фильтра_в_милливольтах_ср",
    "supplier",
    *(f"reading_{number:02}" for number in range(57)),
]
FEATURES = [
    answers.feature(name, kind="categorical", categories=LEVELS, minimum=None, maximum=None, median=None)
    if name == "supplier"
    else answers.feature(name, source_name=name)
    for name in NAMES
]
CONTRACT = {"task": "classification", "target": "defect", "features": FEATURES, "classes": CLASSES}
ROW = [LEVELS[7] if name == "supplier" else 3.25 for name in NAMES]
PROBABILITIES = {name: 0.5 if place == 2 else 0.5 / 39 for place, name in enumerate(CLASSES)}


def model(version):
    return answers.model(version, contract=CONTRACT, examples=[ROW])


def variant(version, place):
    return answers.variant(version, weight=1 / 12, requests=50_000 + place, labelled=40_000 + place)


def comparison(version, place):
    found = {**answers.COMPARISON, "challenger": version, "difference": 0.01 * (place - 6)}
    return {
        **found,
        "improvement": found["difference"],
        "interval": [found["difference"] - 0.03, found["difference"] + 0.03],
    }


def part(level, place=0):
    improvement = {"improvement": 0.02 - place / 500, "interval": [-0.06 - place / 500, 0.1]}
    return answers.part(level, requests=900, **improvement)


def of_classes(version):
    square = [[130 if row == column else (row + column) % 3 for column in range(40)] for row in range(40)]
    figures = {"precision": [0.9] * 40, "recall": [0.9] * 40, "f1": [0.9] * 40}
    return answers.of_classes(version, confusion=square, missing=[0] * 40, **figures)


def stream(name, place):
    shape = {"kind": "numeric", "bins": [0, 1, 2], "reference": [0.5, 0.5], "live": [0.1, 0.8]}
    if name == "supplier":
        share = [1 / 200] * 200
        shape = {"kind": "categorical", "bins": LEVELS, "reference": share, "live": share}
    return {**answers.STREAM, "name": name, "evidence": 1.0 if place < 2 else 0.3, **shape}


def audit_entry(place):
    entry = answers.AUDIT["entries"][0]
    note = "a long reason, given by somebody who wanted to be understood next year as well, " * 2
    return {**entry, "seq": place + 1, "at": f"2026-11-20T12:{place + 10}:00.000000Z", "note": note}


EXPERIMENT = {
    **answers.EXPERIMENT,
    "variants": [variant(version, place) for place, version in enumerate(VERSIONS)],
    "comparisons": [comparison(version, place) for place, version in enumerate(VERSIONS[1:])],
    "guardrails": [
        {"name": "errors", "ok": place % 3 > 0, "version": version, "detail": f"{place} of 90 were {version}'s"}
        for place, version in enumerate(VERSIONS[1:])
    ],
}
SPLITS = [{"epoch": 1, "at": "2026-11-19T12:00:00.000000Z", "weights": dict.fromkeys(VERSIONS, 1 / 12)}]
POINTS = [
    {**point, "challenger": version, "n": hundred + point["n"]}
    for version in VERSIONS[1:]
    for hundred in range(0, 1000, 100)
    for point in answers.TIMELINE["points"]
]
DISAGREEMENT = {
    "prediction_id": "id-9",
    "id": "an-own-key-of-the-caller-which-is-as-long-as-such-keys-are-in-practice-0000-4711",
    "timestamp": "2026-11-20T12:00:00.123456Z",
    "won": "challenger",
    "actual": CLASSES[1],
    "features": dict(zip(NAMES, ROW, strict=True)),
    "answers": {
        version: {"prediction": CLASSES[place], "confidence": 0.55, "probabilities": PROBABILITIES}
        for place, version in enumerate(("v1", "v2"))
    },
    "model_version": "v2",
    "came": 3,
}
BREAKDOWN = {
    **answers.BREAKDOWN,
    "features": NAMES,
    "refused": {},
    "rows": [part(name, place) for place, name in enumerate(CLASSES)],
    "all": part("all"),
    "classes": CLASSES,
    "versions": [of_classes("v1"), of_classes("v2")],
}
WIDE = {
    **answers.NORMAL,
    "/models": {"models": [model(version) for version in VERSIONS], "aliases": {"champion": "v1"}, "refused": {}},
    "/config": {**answers.CONFIG, "weights": dict.fromkeys(VERSIONS, 1 / 12)},
    "/predict": {**answers.PREDICTION, "prediction": CLASSES[2], "probabilities": PROBABILITIES, "model_version": LONG},
    "/predict/batch": lambda body: {
        "predictions": [
            {**answers.PREDICTION, "prediction": CLASSES[place % 40], "prediction_id": f"id-{place}"}
            for place, _ in enumerate(body["instances"])
        ],
        "count": len(body["instances"]),
        "model_version": LONG,
        "assignment": "weighted",
        "latency_ms": 1.0,
        "timestamp": NOW,
    },
    "/predictions/history": {
        "predictions": [
            {**answers.HISTORY["predictions"][0], "features": dict(zip(NAMES, ROW, strict=True)), "prediction": name}
            for name in CLASSES[:8]
        ],
        "next": None,
    },
    "/experiment": EXPERIMENT,
    "/experiments": {"experiments": []},
    "/experiment/timeline": {"experiment_id": "e-1", "points": POINTS, "splits": SPLITS},
    "/experiment/e-1/breakdown": BREAKDOWN,
    "/experiment/e-1/disagreements": {
        "experiment": "e-1",
        "baseline": "v1",
        "challenger": "v2",
        "margin": None,
        "disagreements": [DISAGREEMENT] * 20,
        "next": None,
    },
    "/audit": {"entries": [audit_entry(place) for place in range(30)]},
    "/drift": {
        **answers.DRIFT,
        "alarm_streams": [{"name": NAMES[0], "kind": "inputs", "evidence": 1.0, "requests": 3310, "at": NOW}],
        "assumption": "The alarm takes requests for exchangeable: name users in `user_id`.",
        "features": [stream(name, place) for place, name in enumerate(NAMES)],
        "outputs": [
            {**stream("class", 3), "kind": "categorical", "bins": CLASSES, "reference": [0.025] * 40, "live": None}
        ],
    },
    "/health": {
        **answers.HEALTH,
        "models": {version: {"loaded": True, "circuit_breaker": "closed"} for version in VERSIONS},
    },
    "/metrics": "prediction_requests_total 600000.0\n"
    + "".join(f'model_version_requests_total{{version="{version}"}} 50000.0\n' for version in VERSIONS)
    + "".join(
        f'prediction_latency_seconds_bucket{{le="{bound}",version="{version}"}} 60.0\n'
        for version in VERSIONS
        for bound in ("0.0001", "0.001", "+Inf")
    ),
}
REGRESSION = {
    **WIDE,
    "/models": {
        "models": [
            answers.model(version, contract={**CONTRACT, "task": "regression", "classes": []}, examples=[ROW])
            for version in VERSIONS
        ],
        "aliases": {"champion": "v1"},
        "refused": {},
    },
    "/predict": {
        **answers.PREDICTION,
        "prediction": 1234567.891,
        "probabilities": None,
        "confidence": None,
        "class_id": None,
    },
    "/config": {**answers.CONFIG, "metric": "reward", "weights": dict.fromkeys(VERSIONS, 1 / 12)},
    "/experiment": {**EXPERIMENT, "metric": "reward"},
}
