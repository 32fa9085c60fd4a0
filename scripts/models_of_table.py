"""The models of the table in docs/models.md, and the data that they are fitted on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn import (
    calibration,
    compose,
    discriminant_analysis,
    ensemble,
    feature_selection,
    gaussian_process,
    impute,
    linear_model,
    model_selection,
    naive_bayes,
    neighbors,
    neural_network,
    svm,
    tree,
)
from sklearn import decomposition as parts
from sklearn import preprocessing as scaling
from sklearn.pipeline import make_pipeline

from scripts.tables_of_models import DATA, TARGET

_SEED = 0


class Model(msgspec.Struct, frozen=True):
    """A model by the name that the table gives it, its data, and how it is made.

    `package` is the module that it needs beside scikit-learn. `codes`: it is fitted on class numbers, while the
    reference has the classes' names.
    """

    name: str
    data: str
    make: Callable[[], Any]
    package: str | None = None
    codes: bool = False

    def table(self) -> pd.DataFrame:
        """The rows that it is fitted on, with the column `TARGET`."""
        return DATA[self.data]()

    def fitted(self, table: pd.DataFrame) -> Any:
        """The model, fitted on those rows."""
        target = table[TARGET]
        labels = np.unique(target, return_inverse=True)[1] if self.codes else target.to_numpy()
        rows = table.drop(columns=TARGET)
        if self.data == "categories":
            rows = rows.astype(dict.fromkeys(("city", "plan"), "category"))
        return self.make().fit(rows, labels)


_THREE, _TWO, _MIXED, _CATEGORIES, _VALUES = DATA


def _columns(encoder: Any, *, gaps: bool = True) -> Any:
    numbers = make_pipeline(impute.SimpleImputer(), scaling.StandardScaler()) if gaps else "passthrough"
    return compose.make_column_transformer(
        (numbers, ["age", "income"]), (encoder, ["city", "plan", "member"]), verbose_feature_names_out=False
    )


def _searched(model: Any, **grid: Any) -> Any:
    return model_selection.GridSearchCV(model, grid, cv=3)


def _logistic(**settings: Any) -> Any:
    return make_pipeline(scaling.StandardScaler(), linear_model.LogisticRegression(max_iter=1000, **settings))


def _forest(trees: int = 30) -> Any:
    return ensemble.RandomForestClassifier(trees, random_state=_SEED)


def _boosted() -> Any:
    return ensemble.HistGradientBoostingClassifier(max_iter=30, random_state=_SEED)


def _members() -> list[tuple[str, Any]]:
    return [("forest", _forest()), ("logistic", _logistic()), ("boosting", _boosted())]


def _value_members() -> list[tuple[str, Any]]:
    return [("forest", ensemble.RandomForestRegressor(30, random_state=_SEED)), ("ridge", linear_model.Ridge())]


def _lightgbm(kind: str, **settings: Any) -> Any:
    import lightgbm

    return getattr(lightgbm, f"LGBM{kind}")(n_estimators=50, random_state=_SEED, verbose=-1, **settings)


def _xgboost(kind: str, **settings: Any) -> Any:
    import xgboost

    return getattr(xgboost, f"XGB{kind}")(n_estimators=50, random_state=_SEED, **settings)


def _catboost(kind: str, **settings: Any) -> Any:
    import catboost

    return getattr(catboost, f"CatBoost{kind}")(
        iterations=50, random_seed=_SEED, verbose=0, allow_writing_files=False, **settings
    )


def _of(make: Callable[..., Any], *arguments: Any, **settings: Any) -> Callable[[], Any]:
    return partial(make, *arguments, **settings)


def _scaled(make: Callable[..., Any], **settings: Any) -> Callable[[], Any]:
    return lambda: make_pipeline(scaling.StandardScaler(), make(**settings))


_CLASSIFIERS = (
    Model("LogisticRegression", _THREE, lambda: linear_model.LogisticRegression(max_iter=5000)),
    Model("StandardScaler, LogisticRegression", _THREE, _logistic),
    Model("StandardScaler, LogisticRegressionCV", _TWO, _scaled(linear_model.LogisticRegressionCV, cv=3)),
    Model("StandardScaler, SGDClassifier(log_loss)", _TWO, _scaled(linear_model.SGDClassifier, loss="log_loss")),
    Model("StandardScaler, RidgeClassifier", _THREE, _scaled(linear_model.RidgeClassifier)),
    Model("LinearDiscriminantAnalysis", _THREE, discriminant_analysis.LinearDiscriminantAnalysis),
    Model("QuadraticDiscriminantAnalysis", _THREE, discriminant_analysis.QuadraticDiscriminantAnalysis),
    Model("GaussianNB", _THREE, naive_bayes.GaussianNB),
    Model("StandardScaler, KNeighborsClassifier", _THREE, _scaled(neighbors.KNeighborsClassifier)),
    Model("StandardScaler, SVC(probability=True)", _THREE, _scaled(svm.SVC, probability=True, random_state=_SEED)),
    Model("StandardScaler, SVC", _THREE, _scaled(svm.SVC)),
    Model("StandardScaler, LinearSVC", _THREE, _scaled(svm.LinearSVC)),
    Model(
        "StandardScaler, MLPClassifier",
        _THREE,
        _scaled(neural_network.MLPClassifier, max_iter=300, random_state=_SEED),
    ),
    Model("StandardScaler, GaussianProcessClassifier", _TWO, _scaled(gaussian_process.GaussianProcessClassifier)),
    Model("PCA, LogisticRegression", _THREE, lambda: make_pipeline(parts.PCA(5), *_steps(_logistic()))),
    Model(
        "SelectKBest, LogisticRegression",
        _THREE,
        lambda: make_pipeline(feature_selection.SelectKBest(k=5), *_steps(_logistic())),
    ),
    Model(
        "PolynomialFeatures, LogisticRegression",
        _THREE,
        lambda: make_pipeline(scaling.PolynomialFeatures(2), *_steps(_logistic())),
    ),
    Model("DecisionTreeClassifier", _THREE, _of(tree.DecisionTreeClassifier, random_state=_SEED)),
    Model("ExtraTreeClassifier", _THREE, _of(tree.ExtraTreeClassifier, random_state=_SEED)),
    Model("RandomForestClassifier, 30 trees", _THREE, _forest),
    Model("RandomForestClassifier, 300 trees", _TWO, _of(_forest, 300)),
    Model("ExtraTreesClassifier", _THREE, _of(ensemble.ExtraTreesClassifier, 30, random_state=_SEED)),
    Model("GradientBoostingClassifier", _THREE, _of(ensemble.GradientBoostingClassifier, random_state=_SEED)),
    Model("HistGradientBoostingClassifier", _THREE, _boosted),
    Model("AdaBoostClassifier", _THREE, _of(ensemble.AdaBoostClassifier, n_estimators=30, random_state=_SEED)),
    Model("BaggingClassifier", _THREE, _of(ensemble.BaggingClassifier, n_estimators=10, random_state=_SEED)),
    Model("VotingClassifier(hard)", _THREE, lambda: ensemble.VotingClassifier(_members())),
    Model("VotingClassifier(soft)", _THREE, lambda: ensemble.VotingClassifier(_members(), voting="soft")),
    Model("StackingClassifier", _THREE, lambda: ensemble.StackingClassifier(_members(), cv=3)),
    Model("GridSearchCV(logistic pipeline)", _THREE, lambda: _searched(_logistic(), logisticregression__C=[0.1, 1])),
    Model("GridSearchCV(RandomForestClassifier)", _THREE, lambda: _searched(_forest(), max_depth=[3, None])),
    Model(
        "RandomizedSearchCV(HistGradientBoostingClassifier)",
        _TWO,
        lambda: model_selection.RandomizedSearchCV(
            _boosted(), {"max_depth": [3, None]}, n_iter=2, cv=3, random_state=_SEED
        ),
    ),
    Model("CalibratedClassifierCV(logistic pipeline)", _TWO, lambda: _calibrated(_logistic())),
    Model("CalibratedClassifierCV(RandomForestClassifier)", _THREE, lambda: _calibrated(_forest())),
    Model("CalibratedClassifierCV(forest, isotonic)", _TWO, lambda: _calibrated(_forest(), method="isotonic")),
    Model("CalibratedClassifierCV(LinearSVC pipeline)", _TWO, lambda: _calibrated(_scaled(svm.LinearSVC)())),
    Model("CalibratedClassifierCV(SVC pipeline)", _THREE, lambda: _calibrated(_scaled(svm.SVC)())),
    Model("CalibratedClassifierCV(FrozenEstimator)", _TWO, lambda: _calibrated(_forest(), ensemble=False)),
    Model(
        "FixedThresholdClassifier(0.3)",
        _TWO,
        lambda: model_selection.FixedThresholdClassifier(_logistic(), threshold=0.3),
    ),
    Model("TunedThresholdClassifierCV", _TWO, lambda: model_selection.TunedThresholdClassifierCV(_logistic(), cv=3)),
)


def _calibrated(model: Any, **settings: Any) -> Any:
    return calibration.CalibratedClassifierCV(model, cv=3, **settings)


def _steps(pipeline: Any) -> list[Any]:
    return [step for _, step in pipeline.steps]


def _on_mixed(encoder: Callable[[], Any], model: Callable[[], Any], *, gaps: bool = True) -> Callable[[], Any]:
    return lambda: make_pipeline(_columns(encoder(), gaps=gaps), model())


_ONE_HOT = partial(scaling.OneHotEncoder, handle_unknown="ignore")
_STRICT = partial(scaling.OneHotEncoder, sparse_output=False)
_ORDINAL = partial(scaling.OrdinalEncoder, handle_unknown="use_encoded_value", unknown_value=-1)
_PIPELINES = (
    Model("imputer, OneHotEncoder, LogisticRegression", _MIXED, _on_mixed(_ONE_HOT, linear_model.LogisticRegression)),
    Model("imputer, OneHotEncoder(error), RandomForestClassifier", _MIXED, _on_mixed(_STRICT, _forest)),
    Model("OrdinalEncoder, HistGradientBoostingClassifier", _MIXED, _on_mixed(_ORDINAL, _boosted, gaps=False)),
    Model(
        "TargetEncoder, LogisticRegression",
        _MIXED,
        _on_mixed(partial(scaling.TargetEncoder, random_state=_SEED), linear_model.LogisticRegression),
    ),
    Model(
        "GridSearchCV(mixed pipeline)",
        _MIXED,
        lambda: _searched(_on_mixed(_ONE_HOT, _forest)(), randomforestclassifier__max_depth=[3, None]),
    ),
    Model("CalibratedClassifierCV(mixed pipeline)", _MIXED, lambda: _calibrated(_on_mixed(_ONE_HOT, _forest)())),
)
_REGRESSORS = (
    Model("LinearRegression", _VALUES, linear_model.LinearRegression),
    Model("StandardScaler, Ridge", _VALUES, _scaled(linear_model.Ridge)),
    Model("StandardScaler, ElasticNet", _VALUES, _scaled(linear_model.ElasticNet)),
    Model("StandardScaler, HuberRegressor", _VALUES, _scaled(linear_model.HuberRegressor)),
    Model("StandardScaler, SVR", _VALUES, _scaled(svm.SVR)),
    Model("StandardScaler, KNeighborsRegressor", _VALUES, _scaled(neighbors.KNeighborsRegressor)),
    Model("RandomForestRegressor", _VALUES, _of(ensemble.RandomForestRegressor, 30, random_state=_SEED)),
    Model("GradientBoostingRegressor", _VALUES, _of(ensemble.GradientBoostingRegressor, random_state=_SEED)),
    Model("HistGradientBoostingRegressor", _VALUES, _of(ensemble.HistGradientBoostingRegressor, max_iter=50)),
    Model("VotingRegressor", _VALUES, lambda: ensemble.VotingRegressor(_value_members())),
    Model("StackingRegressor", _VALUES, lambda: ensemble.StackingRegressor(_value_members(), cv=3)),
    Model(
        "TransformedTargetRegressor(log1p, Ridge)",
        _VALUES,
        lambda: compose.TransformedTargetRegressor(linear_model.Ridge(), func=np.log1p, inverse_func=np.expm1),
    ),
)
_OTHERS = (
    Model("LGBMClassifier", _THREE, _of(_lightgbm, "Classifier"), "lightgbm"),
    Model("LGBMClassifier", _TWO, _of(_lightgbm, "Classifier"), "lightgbm"),
    Model("LGBMClassifier, pandas categories", _CATEGORIES, _of(_lightgbm, "Classifier"), "lightgbm"),
    Model(
        "imputer, OneHotEncoder, LGBMClassifier",
        _MIXED,
        _on_mixed(_STRICT, _of(_lightgbm, "Classifier")),
        "lightgbm",
    ),
    Model(
        "CalibratedClassifierCV(LGBMClassifier)",
        _TWO,
        lambda: _calibrated(_lightgbm("Classifier")),
        "lightgbm",
    ),
    Model("LGBMRegressor", _VALUES, _of(_lightgbm, "Regressor"), "lightgbm"),
    Model("XGBClassifier, class numbers", _THREE, _of(_xgboost, "Classifier"), "xgboost", codes=True),
    Model("XGBClassifier, class numbers", _TWO, _of(_xgboost, "Classifier"), "xgboost", codes=True),
    Model(
        "imputer, OneHotEncoder, XGBClassifier",
        _MIXED,
        _on_mixed(_STRICT, _of(_xgboost, "Classifier")),
        "xgboost",
        codes=True,
    ),
    Model(
        "XGBClassifier, pandas categories",
        _CATEGORIES,
        _of(_xgboost, "Classifier", enable_categorical=True),
        "xgboost",
        codes=True,
    ),
    Model("XGBRegressor", _VALUES, _of(_xgboost, "Regressor"), "xgboost"),
    Model("CatBoostClassifier", _THREE, _of(_catboost, "Classifier"), "catboost"),
    Model("CatBoostClassifier", _TWO, _of(_catboost, "Classifier"), "catboost"),
    Model(
        "imputer, OneHotEncoder, CatBoostClassifier",
        _MIXED,
        _on_mixed(_STRICT, _of(_catboost, "Classifier")),
        "catboost",
    ),
    Model(
        "CatBoostClassifier(cat_features)",
        _CATEGORIES,
        _of(_catboost, "Classifier", cat_features=["city", "plan"]),
        "catboost",
    ),
    Model("CatBoostRegressor", _VALUES, _of(_catboost, "Regressor"), "catboost"),
)
MODELS = (*_CLASSIFIERS, *_PIPELINES, *_REGRESSORS, *_OTHERS)
