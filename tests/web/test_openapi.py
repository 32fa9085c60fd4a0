import jsonschema
import pytest

from app.web.app import OPERATIONS, create_flask
from tests.web import fakes

API_PAGE = {
    ("GET", "/"),
    ("POST", "/predict"),
    ("POST", "/predict/batch"),
    ("GET", "/predictions/history"),
    ("GET", "/predictions"),
    ("GET", "/predictions/{prediction_id}"),
    ("POST", "/exposures"),
    ("POST", "/ofrep/v1/evaluate/flags/{key}"),
    ("POST", "/ofrep/v1/evaluate/flags"),
    ("POST", "/feedback"),
    ("GET", "/experiment"),
    ("GET", "/experiment/timeline"),
    ("GET", "/experiment/{id}/breakdown"),
    ("GET", "/experiment/{id}/disagreements"),
    ("POST", "/experiment/decision"),
    ("GET", "/experiments"),
    ("GET", "/experiments/{id}"),
    ("GET", "/audit"),
    ("GET", "/drift"),
    ("GET", "/drift/timeline"),
    ("POST", "/drift/acknowledge"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/config"),
    ("PATCH", "/config"),
    ("GET", "/models"),
    ("GET", "/models/{version}"),
    ("POST", "/models/reload"),
    ("POST", "/model/reload"),
    ("GET", "/model/info"),
    ("GET", "/metrics"),
    ("POST", "/invocations"),
    ("GET", "/ping"),
    ("GET", "/version"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"),
    ("POST", "/v1/models/{model}:predict"),
    ("POST", "/v1/models/{model}/versions/{version}:predict"),
    ("POST", "/v1/models/{model}/labels/{label}:predict"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/v2/models"),
    ("GET", "/v2/models/{model}"),
    ("GET", "/v2/models/{model}/versions/{version}"),
    ("GET", "/v2/models/{model}/ready"),
    ("GET", "/v2/models/{model}/versions/{version}/ready"),
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/{model}/load"),
    ("POST", "/v2/repository/models/{model}/unload"),
    ("POST", "/v2/models/{model}/infer"),
    ("POST", "/v2/models/{model}/versions/{version}/infer"),
    ("POST", "/endpoints/{model}/invocations"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/{file}"),
}
LOADED_MODELS = {
    "iris": fakes.loaded_models(v1=fakes.ConstantRuntime()),
    "without_probabilities": fakes.loaded_models(v1=fakes.ConstantRuntime(1, None)),
    "houses": fakes.loaded_models(fakes.HOUSES, v1=fakes.ConstantRuntime(value=42.5)),
    "accounts": fakes.loaded_models(fakes.ACCOUNTS, v1=fakes.ConstantRuntime(0, (0.7, 0.3))),
    "orders": fakes.loaded_models(fakes.ORDERS, v1=fakes.ConstantRuntime(0, (0.7, 0.3))),
    "members": fakes.loaded_models(fakes.MEMBERS, v1=fakes.ConstantRuntime(1, (0.1, 0.9, 0.0))),
    "flagged": fakes.loaded_models(fakes.FLAGGED, v1=fakes.ConstantRuntime(1, (0.1, 0.9))),
    "empty": fakes.loaded_models(),
}


@pytest.fixture(scope="module", params=LOADED_MODELS)
def described(request):
    """A client and its document, for each kind of model."""
    client = create_flask(fakes.services(LOADED_MODELS[request.param])).test_client()
    return client, client.get("/openapi.json").get_json()


def check(document, schema, value):
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def calls(document):
    return [(path, method, op) for path, methods in document["paths"].items() for method, op in methods.items()]


def filled(path, operation):
    """The path with the examples of its parameters."""
    given = {
        each["name"]: each["example"] for each in operation["parameters"] if each["in"] == "path" and "example" in each
    }
    return path.format_map({"id": "x", "prediction_id": "x", **given})


def bodies(document):
    """Every example of a request: the call, the value, and the schema of the body."""
    for path, method, operation in calls(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in content.get("examples", {}).values():
            yield filled(path, operation), method, operation, example["value"], content["schema"]


def test_the_routes_are_those_of_the_contract():
    assert {(operation.method.upper(), operation.path) for operation in OPERATIONS} == API_PAGE


def test_every_route_is_described_and_every_description_has_a_route(client):
    rules = {
        (method, rule.rule.replace("<name:", "<").replace("<", "{").replace(">", "}"))
        for rule in client.application.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert rules == API_PAGE
    assert {(method.upper(), path) for path, method, _ in calls(client.get("/openapi.json").get_json())} == API_PAGE


def test_every_schema_is_a_json_schema_whose_references_resolve(described):
    _, document = described
    names = set(document["components"]["schemas"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert set(references(document)) <= {f"#/components/schemas/{name}" for name in names}


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            yield from [value] if key == "$ref" else references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_call_has_its_own_id_and_says_what_it_answers(described):
    _, document = described
    ids = [operation["operationId"] for _, _, operation in calls(document)]
    assert len(ids) == len(set(ids))
    assert all({"200", "500"} <= set(operation["responses"]) for _, _, operation in calls(document))


def test_the_examples_of_requests_fit_their_schema_and_work(described):
    client, document = described
    for path, method, operation, value, schema in bodies(document):
        check(document, schema, value)
        if operation["security"]:  # administration is disabled here
            continue
        answer = client.open(path, method=method, json=value)
        assert answer.status_code == 200, answer.text
        check(document, operation["responses"]["200"]["content"]["application/json"]["schema"], answer.get_json())


def test_an_array_alone_is_a_body_of_sagemaker_and_of_no_other_call(client):
    document = client.get("/openapi.json").get_json()
    fits = {
        path: jsonschema.Draft202012Validator(
            {**operation["requestBody"]["content"]["application/json"]["schema"], "components": document["components"]}
        ).is_valid([[5.1, 3.5, 1.4, 0.2]])
        for path, _, operation in calls(document)
        if "requestBody" in operation
    }
    assert [path for path, is_body in fits.items() if is_body] == ["/endpoints/{model}/invocations"]


def test_every_call_with_a_body_has_an_example_of_it(client):
    described = calls(client.get("/openapi.json").get_json())
    contents = [operation["requestBody"]["content"] for _, _, operation in described if "requestBody" in operation]
    assert all(content["application/json"]["examples"] for content in contents)


def test_the_examples_of_answers_fit_their_schema(described):
    _, document = described
    for _, _, operation in calls(document):
        content = operation["responses"]["200"].get("content", {})
        for media in content.values():
            if "example" in media:
                check(document, media["schema"], media["example"])


def test_what_the_reading_calls_answer_fits_their_schema(described):
    client, document = described
    for path, method, operation in calls(document):
        if method != "get" or "application/json" not in operation["responses"]["200"].get("content", {}):
            continue
        answer = client.get(filled(path, operation))
        described_answer = operation["responses"][str(answer.status_code)]
        check(document, described_answer["content"]["application/json"]["schema"], answer.get_json())
        assert set(described_answer["headers"]) <= set(dict(answer.headers))


@pytest.mark.parametrize(
    "body",
    [{"features": [1, 2, 3]}, {"features": [1, 2, 3, "4"]}, {"features": [1, 2, 3, 4], "x": 1}, {}, {"user_id": "a"}],
)
def test_what_the_schema_refuses_is_refused(client, body):
    document = client.get("/openapi.json").get_json()
    with pytest.raises(jsonschema.ValidationError):
        check(document, {"$ref": "#/components/schemas/PredictRequest"}, body)
    answer = client.post("/predict", json=body)
    assert answer.status_code == 400
    check(document, {"$ref": "#/components/schemas/ErrorBody"}, answer.get_json())


def test_the_document_follows_a_reload(serve):
    client, services = serve(fakes.loaded_models())
    before = client.get("/openapi.json").get_json()["components"]["schemas"]["Row"]
    services.live.install(fakes.loaded_models(v1=fakes.ConstantRuntime()))
    after = client.get("/openapi.json").get_json()["components"]["schemas"]["Row"]
    assert "anyOf" in before
    assert [value["title"] for value in after["anyOf"][0]["prefixItems"]] == list(fakes.IRIS.names)


@pytest.mark.parametrize(("token", "security"), [(None, []), ("secret", [{"token": []}, {"key": []}])])
def test_security_is_what_is_in_force(serve, token, security):
    client, _ = serve(api_token=token)
    paths = client.get("/openapi.json").get_json()["paths"]
    assert paths["/predict"]["post"]["security"] == security
    assert paths["/health"]["get"]["security"] == []
    assert ("401" in paths["/predict"]["post"]["responses"]) is (token is not None)


def allowed(models, name, value, key):
    """Whether the schema `name` allows the value, as `key` of an object or as the row."""
    document = create_flask(fakes.services(LOADED_MODELS[models])).test_client().get("/openapi.json").get_json()
    body = value if key is None else {"prediction_id": "x", key: value}
    validator = jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    )
    return validator.is_valid(body)


@pytest.mark.parametrize(
    ("models", "actual", "is_label"),
    [
        ("iris", "setosa", True),
        ("iris", 2, True),
        ("iris", 3, False),
        ("iris", True, False),
        ("members", 1, True),
        ("members", 2.5, True),
        ("members", "3", True),
        ("members", 0, False),
        ("members", 2, False),
        ("members", True, False),
        ("flagged", True, True),
        ("flagged", False, True),
        ("flagged", "False", True),
        ("flagged", 1, True),
        ("flagged", 2, False),
        ("houses", 2.5, True),
        ("houses", True, False),
    ],
)
def test_a_label_is_named_as_in_the_training_data(models, actual, is_label):
    assert allowed(models, "Outcome", actual, "actual") == is_label


@pytest.mark.parametrize(
    ("row", "is_row"),
    [
        ([True, True, False], True),
        ([1, "True", 0], True),
        ([0.0, 0, 1.0], True),
        ([False, None, True], True),
        ([0.5, True, True], False),
        ([True, "maybe", True], False),
        ([True, True, 2], False),
        ([None, True, True], False),
    ],
)
def test_a_boolean_is_given_as_one_or_as_in_the_training_data(row, is_row):
    assert allowed("members", "Row", row, None) == is_row
    client = create_flask(fakes.services(LOADED_MODELS["members"])).test_client()
    assert client.post("/predict", json={"features": row}).status_code == (200 if is_row else 400)
