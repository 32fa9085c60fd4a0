from pathlib import Path

import pytest

from app.errors import SettingError
from app.settings import Settings


def test_without_an_environment_v1_and_v2_share_equally():
    settings = Settings.from_environ({})
    assert settings.weights == {"v1": 50.0, "v2": 50.0}
    assert (settings.host, settings.api_port) == ("127.0.0.1", 5000)


def test_each_version_named_in_the_environment_has_its_weight():
    settings = Settings.from_environ({"MODEL_V1_WEIGHT": "80", "MODEL_V3_BETA_WEIGHT": "1.5"})
    assert settings.weights == {"v1": 80.0, "v2": 50.0, "v3_beta": 1.5}


def test_an_empty_variable_is_as_good_as_none():
    assert Settings.from_environ({"MODEL_V1_WEIGHT": "", "ADMIN_TOKEN": " "}).admin_token is None


def test_checkpoints_of_the_log_are_left_to_litestream_where_it_is_used():
    beside = Settings.from_environ({"DATA_DIR": "/data", "LITESTREAM_BUCKET": "logs"})
    assert beside.store_url == "sqlite:////data/bakeoff.sqlite?checkpoint_pages=65536"
    assert Settings.from_environ({"DATA_DIR": "/data"}).store_url == "sqlite:////data/bakeoff.sqlite"
    server = {"LITESTREAM_BUCKET": "logs", "DATABASE_URL": "postgresql://h/n"}
    assert Settings.from_environ(server).store_url == "postgresql://h/n"
    few = {"DATABASE_URL": "postgresql://h/n?sslmode=require", "DATABASE_CONNECTIONS": "2"}
    assert Settings.from_environ(few).store_url == "postgresql://h/n?sslmode=require&connections=2"


def test_the_ui_finds_the_api_at_its_port():
    assert Settings.from_environ({"API_PORT": "6000"}).api_url == "http://127.0.0.1:6000"


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("10.1.2.3:5001", "http://10.1.2.3:5001"),
        ("0.0.0.0:5001", "http://127.0.0.1:5001"),
        ("[::1]:5001", "http://[::1]:5001"),
        ("box.lan:5001", "http://box.lan:5001"),
    ],
)
def test_where_administration_has_a_listener_the_ui_and_the_commands_use_it(bind, url):
    assert Settings.from_environ({"ADMIN_BIND": bind}).api_url == url


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MODEL_V1_WEIGHT", "-1"),
        ("MODEL_V2_WEIGHT", "half"),
        ("MODEL_V2_WEIGHT", "nan"),
        ("MODEL_V2_WEIGHT", "inf"),
        ("API_PORT", "0"),
        ("API_PORT", "80.5"),
        ("WEB_CONCURRENCY", "none"),
        ("DRIFT_THRESHOLD", "1.1"),
        ("AUTO_DECIDE", "yes"),
        ("LABELS_EXOGENOUS", "maybe"),
        ("LOG_LEVEL", "LOUD"),
        ("EXPERIMENT_METRIC", "vibes"),
        ("REWARD_RANGE", "1,0"),
        ("REWARD_RANGE", "1"),
        ("EXPERIMENT_ALPHA", "0"),
        ("EXPERIMENT_MIN_DURATION", "7"),
        ("EXPERIMENT_MIN_DURATION", "a week"),
        ("EXPERIMENT_MIN_DURATION", "-1d"),
        ("EXPERIMENT_UNIT", "client"),
        ("REWARD_WINDOW", "0"),
        ("REWARD_WINDOW", "7"),
        ("REWARD_WINDOW", "999999999d"),
        ("GUARDRAIL_SLOW", "0.5x"),
        ("GUARDRAIL_SLOW", "5ms"),
        ("COST_MATRIX", "no/such/file.json"),
        ("COST_MATRIX", '{"yes": {"no": 0}}'),
        ("COST_MATRIX", '{"yes": 1}'),
        ("COST_MATRIX", '{"yes": {"no": 1}, "yes": {"no": 2}}'),
        ("COST_MATRIX", '{"yes": {"no": 1, "no": 2}}'),
        ("BASELINE", "V 1"),
        ("MAX_BODY_BYTES", "1e99"),
        ("ALLOWED_HOSTS", "https://good.example"),
        ("ALLOWED_HOSTS", "good.example:443"),
        ("ALLOWED_HOSTS", "*.example"),
        ("ADMIN_BIND", "127.0.0.1"),
        ("ADMIN_BIND", ":5001"),
        ("ADMIN_BIND", "::1:5001"),
        ("ADMIN_BIND", "127.0.0.1:0"),
        ("ADMIN_BIND", "127.0.0.1:65536"),
        ("ADMIN_BIND", "127.0.0.1:5000"),
    ],
)
def test_a_wrong_value_names_its_variable(variable, value):
    with pytest.raises(SettingError) as refused:
        Settings.from_environ({variable: value})
    assert refused.value.variable == variable
    assert str(refused.value).startswith(f"{variable}: ")


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("0d", 0), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("2D", 172_800)]
)
def test_a_span_is_a_number_with_a_unit(text, seconds):
    assert Settings.from_environ({"EXPERIMENT_MIN_DURATION": text}).min_duration_s == seconds


@pytest.mark.parametrize(("text", "seconds"), [("7d", 604_800), ("1.5h", 5400), ("none", None), ("", None)])
def test_a_reward_window_is_a_span_or_none(text, seconds):
    assert Settings.from_environ({"REWARD_WINDOW": text}).reward_window_s == seconds


def test_the_limit_of_slow_answers_is_kept_as_it_is_written():
    assert Settings.from_environ({"GUARDRAIL_SLOW": " 400x+1ms"}).guardrail_slow == "400x+1ms"
    assert Settings.from_environ({"GUARDRAIL_SLOW": "OFF"}).guardrail_slow == "off"


def test_all_weights_zero_names_them():
    with pytest.raises(SettingError, match="MODEL_V1_WEIGHT, MODEL_V2_WEIGHT: at least one weight"):
        Settings.from_environ({"MODEL_V1_WEIGHT": "0", "MODEL_V2_WEIGHT": "0"})


def test_the_workers_metrics_lie_in_the_data_folder_unless_set_otherwise() -> None:
    assert Settings.from_environ({"DATA_DIR": "/d"}).metrics_dir == Path("/d/metrics")
    assert Settings.from_environ({"DATA_DIR": "/d", "METRICS_DIR": "/run/m"}).metrics_dir == Path("/run/m")


def test_a_cost_matrix_is_json_or_a_file_of_it(tmp_path):
    document = '{"yes": {"no": 10}}'
    (tmp_path / "costs.json").write_text(document)
    for value in (document, str(tmp_path / "costs.json")):
        assert Settings.from_environ({"COST_MATRIX": value}).cost_matrix == {"yes": {"no": 10.0}}


def test_a_model_registry_on_s3_is_read_from_a_copy_in_the_data_folder():
    environ = {"MODEL_DIR": "s3://bucket/a/prefix/", "DATA_DIR": "/data", "AWS_REGION": "eu-west-1", "OTHER": "x"}
    settings = Settings.from_environ(environ)
    assert (settings.registry, settings.model_dir) == ("s3://bucket/a/prefix", Path("/data/registry"))
    assert settings.aws == {"AWS_REGION": "eu-west-1"}
    in_folder = Settings.from_environ({"MODEL_DIR": "/models", "AWS_REGION": "eu-west-1"})
    assert (in_folder.registry, in_folder.model_bucket, in_folder.aws) == ("/models", None, {})


@pytest.mark.parametrize(
    "place", ["s3://", "s3://Bucket/x", "gs://bucket/x", "s3://bucket/a b", "s3://bucket//x", "s3:/bucket", "S3:bucket"]
)
def test_a_model_registry_elsewhere_is_refused(place):
    with pytest.raises(SettingError, match=r"MODEL_DIR: .* is neither a folder nor s3://BUCKET/PREFIX"):
        Settings.from_environ({"MODEL_DIR": place})
