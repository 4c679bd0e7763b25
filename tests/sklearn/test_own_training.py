"""The estimators' parameters of training beyond scikit-learn's: checks of scikit-learn, steps, copies, failures, messages."""

import copy
import math
import pickle

import joblib
import numba
import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network as original
from estimator_pairs import DIABETES, IRIS
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import check_estimator

import bpkernel as bp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

EPS = np.finfo(float).eps
X, Y = IRIS
D, T = DIABETES[0] * 20, DIABETES[1] / 77


def classifier(**changed):
    return bp.MLPClassifier(**{"hidden_layer_sizes": (9, 5), "activation": "tanh", "random_state": 0, "max_iter": 6, **changed})


def regressor(**changed):
    return bp.MLPRegressor(**{"hidden_layer_sizes": (9, 5), "activation": "tanh", "random_state": 0, "max_iter": 6, **changed})


# ------------------------------------------------------------------------------------------------ checks of scikit-learn

EQUIVALENCE = [f"check_sample_weight_equivalence_on_{kind}_data" for kind in ("dense", "sparse")]
NO_PARTIAL_FIT = ["check_estimators_partial_fit_n_features", "check_fit_score_takes_y", "check_n_features_in_after_fitting"]
ESTIMATORS = {  # with the checks that cannot pass, and why
    "own optimizer, dropout, clipping": (
        bp.MLPClassifier(dropout=0.1, solver="adamw", clip_norm=1.0, max_iter=50),
        dict.fromkeys(EQUIVALENCE, "each sample has a mask of its own"),
    ),
    "objects": (
        bp.MLPClassifier(
            solver=bp.SGD(bp.schedules.Cosine(0.2), momentum=0.9),
            alpha=[1e-4, 1e-3],
            max_norm=5.0,
            label_smoothing=0.1,
            max_iter=50,
        ),
        {"check_class_weight_classifiers": "labels that are smooth remain so with a weight of 1000"},
    ),
    "weights of classes": (
        bp.MLPClassifier(class_weight="balanced", clip_value=1.0, n_jobs=1, max_iter=50),
        dict.fromkeys(NO_PARTIAL_FIT, "partial_fit does not see all samples")
        | dict.fromkeys(EQUIVALENCE, "classes are balanced by their numbers of samples"),
    ),
    "a quantile": (bp.MLPRegressor(loss=bp.Quantile(0.5), solver="nadam", learning_rate_init=0.01, max_iter=50), {}),
    "noise and another output": (
        bp.MLPRegressor(input_noise=0.01, output_activation="softplus", solver="rmsprop", learning_rate_init=0.01, max_iter=50),
        dict.fromkeys(EQUIVALENCE, "each sample has noise of its own")
        | {"check_regressors_train": "its targets are negative too"},
    ),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_checks_of_scikit_learn_pass(name):
    estimator, expected = ESTIMATORS[name]
    results = check_estimator(estimator, on_skip=None, expected_failed_checks=expected)
    assert len(results) > 50
    assert {result["check_name"] for result in results if result["status"] == "xfail"} <= set(expected)


def test_with_early_stopping_the_same_checks_pass_as_for_scikit_learn():
    """Some have too few samples for a validation part."""
    own = bp.MLPRegressor(early_stopping=True, monitor="val_loss", l1=1e-4, metrics=["r2"], max_iter=20)
    failed = [
        {result["check_name"] for result in check_estimator(e, on_fail=None, on_skip=None) if result["status"] == "failed"}
        for e in (own, original.MLPRegressor(early_stopping=True, max_iter=20))
    ]
    assert failed[0] <= failed[1]


# ----------------------------------------------------------------------------------------------------- the steps of an MLP

NET = {"shuffle": False, "batch_size": 40}
OPTIMIZERS = {
    "adamw": bp.AdamW(0.01),
    "nadam": bp.NAdam(0.01),
    "rmsprop": bp.RMSprop(0.01),
    "adagrad": bp.Adagrad(0.01),
    "lion": bp.Lion(0.01),
    "sgd": bp.SGD(0.01, momentum=0.9, nesterov=True),
    "adam": bp.Adam(0.01),
}
STEPS = {  # the parameters of an estimator, and the arguments of MLP.fit
    **{f"solver {name}": ({"solver": name}, {"optimizer": optimizer}) for name, optimizer in OPTIMIZERS.items()},
    "object": ({"solver": bp.AdamW(0.02, weight_decay=0.3)}, {"optimizer": bp.AdamW(0.02, weight_decay=0.3)}),
    "schedule": (
        {"learning_rate": bp.schedules.Cosine(0.03), "solver": "nadam"},
        {"optimizer": bp.NAdam(bp.schedules.Cosine(0.03))},
    ),
    "schedule of sgd": (
        {"learning_rate": bp.schedules.Step(0.03, every=5), "solver": "sgd", "momentum": 0.0},
        {"optimizer": bp.SGD(bp.schedules.Step(0.03, every=5))},
    ),
    "function": ({"learning_rate": lambda step: 0.1 / (1 + step)}, {"optimizer": bp.Adam(lambda step: 0.1 / (1 + step))}),
    "schedule in place of the object's": (
        {"learning_rate": bp.schedules.Cosine(0.03), "solver": bp.AdamW(0.02, weight_decay=0.3)},
        {"optimizer": bp.AdamW(bp.schedules.Cosine(0.03), weight_decay=0.3)},
    ),
    "l1": ({"l1": 0.5}, {"l1": 0.5}),
    "l1 of layers": ({"l1": [0.5, 0.0, 0.1]}, {"l1": [0.5, 0.0, 0.1]}),
    "alpha of layers": ({"alpha": [5.0, 0.0, 1.0]}, {"alpha": [5.0, 0.0, 1.0]}),
    "clip_norm": ({"clip_norm": 0.01}, {"clip_norm": 0.01}),
    "clip_value": ({"clip_value": 1e-3}, {"clip_value": 1e-3}),
    "max_norm": ({"max_norm": 0.5}, {"max_norm": 0.5}),
    "max_norm of layers": ({"max_norm": [None, 0.5, None]}, {"max_norm": [None, 0.5, None]}),
    "label_smoothing": ({"label_smoothing": 0.2}, {"label_smoothing": 0.2}),
    "class_weight": ({"class_weight": {0: 1.0, 1: 5.0}}, {"class_weight": {0: 1.0, 1: 5.0}}),
    "balanced": ({"class_weight": "balanced"}, {"class_weight": "balanced"}),
    "dropout": ({"dropout": 0.3}, {}),
    "dropout of layers": ({"dropout": [0.5, 0.0], "input_dropout": 0.2}, {}),
    "input_noise": ({"input_noise": 0.3}, {}),
}


def by_an_mlp(e, given, epochs=6, **arguments):
    """The MLP that e is after `initialize`, trained by `MLP.fit` on the same batches with the same seed of dropout."""
    start = clone(e).initialize(*given)
    net = start.to_mlp()
    net._random = np.random.Generator(np.random.RandomState(start.random_state)._bit_generator)
    own = {"alpha": 0.0, "optimizer": bp.Adam(0.01), **arguments}
    return start, net, net.fit(*given, epochs=epochs, batch_size=40, shuffle=False, **own)


@pytest.mark.parametrize("name", STEPS)
def test_training_takes_the_steps_of_an_mlp(name):
    parameters, arguments = STEPS[name]
    order = np.random.default_rng(0).permutation(140) + 10  # the classes are of different sizes
    given = X[order], Y[order]
    settings = {**NET, "alpha": 0.0, "learning_rate_init": 0.01, **parameters}
    start, net, history = by_an_mlp(classifier(**settings), given, **arguments)
    trained = classifier(**settings, warm_start=True).initialize(*given).fit(*given)
    without = classifier(**{**NET, "alpha": 0.0, "learning_rate_init": 0.01}).fit(*given)
    for found, expected, before in zip(trained.coefs_, net.weights, start.coefs_, strict=True):
        assert np.abs(expected - before).max() > 1e-4
        np.testing.assert_allclose(found, expected, rtol=24 * 100 * EPS, atol=24 * 100 * EPS)
    if name != "solver adam":
        assert np.abs(trained.coefs_[0] - without.coefs_[0]).max() > 1e-6  # the parameter matters
    if arguments.keys() <= {"optimizer", "clip_norm"} and name != "class_weight":
        np.testing.assert_allclose(trained.loss_curve_, history.loss, rtol=1e-9)


def test_the_loss_has_all_penalties():
    e = classifier(alpha=[1.0, 2.0, 3.0], l1=[0.1, 0.2, 0.3], learning_rate_init=1e-12, batch_size=150, max_iter=1).fit(X, Y)
    l2 = sum(alpha / 2 * np.square(w).sum() for alpha, w in zip((1, 2, 3), e.coefs_, strict=True))
    l1 = sum(rate * np.abs(w).sum() for rate, w in zip((0.1, 0.2, 0.3), e.coefs_, strict=True))
    assert e.loss_ == pytest.approx(log_loss(Y, e.predict_proba(X)) + (l2 + l1) / 150, rel=1e-6)
    assert l2 > l1 > 1


def test_class_weights_are_weights_of_samples():
    """With all solvers, and beside weights of samples, for names of classes and several labels."""
    names, s = np.array(["a", "b", "c"])[Y], np.linspace(0.5, 2, 150)
    for solver in ("lbfgs", "sgd", "adam", "lm", "lion"):
        for class_weight in ("balanced", {"a": 1, "b": 3}):
            own = compute_sample_weight(class_weight, names[:120])
            one = classifier(class_weight=class_weight, solver=solver).fit(X[:120], names[:120], sample_weight=s[:120])
            other = classifier(solver=solver).fit(X[:120], names[:120], sample_weight=s[:120] * own)
            np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])
            plain = classifier(solver=solver).fit(X[:120], names[:120], sample_weight=s[:120])
            assert np.abs(plain.coefs_[0] - one.coefs_[0]).max() > 1e-8
    multi = make_multilabel_classification(60, n_features=4, n_classes=2, random_state=0)
    class_weight = [{0: 1, 1: 2}, {0: 3, 1: 1}]
    one = classifier(class_weight=class_weight).fit(*multi)
    other = classifier().fit(*multi, sample_weight=compute_sample_weight(class_weight, multi[1]))
    np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])


def test_class_weights_in_partial_fit():
    """A batch may lack classes, which "balanced" cannot know."""
    class_weight = {0: 1.0, 1: 5.0}
    one, other = classifier(class_weight=class_weight), classifier()
    for rows in (slice(0, 60), slice(90, 150), slice(40, 110), slice(0, 40)):
        s = np.where(Y[rows] == 1, 5.0, 1.0)
        one.partial_fit(X[rows], Y[rows], classes=[0, 1, 2])
        other.partial_fit(X[rows], Y[rows], classes=[0, 1, 2], sample_weight=s)
    np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])
    with pytest.raises(ValueError, match=r"class_weight='balanced' is not for partial_fit.*pass a dictionary"):
        classifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"The classes, \[0, 1, 2\], are not in class_weight"):
        classifier(class_weight={"a": 2}).fit(X, Y)


def test_dropout_is_for_training_only_and_ends_with_it():
    """Also where training goes on without: in scikit-learn's own, and with other solvers."""
    e = classifier(dropout=0.5, input_dropout=0.1, input_noise=0.1, warm_start=True).fit(X, Y)
    assert not e._held.network.layout.disturbs
    plain = copy.deepcopy(e).set_params(dropout=0.0, input_dropout=0.0, input_noise=0.0)
    undisturbed = classifier(warm_start=True).initialize(X, Y)
    for mine, other in zip((*undisturbed.coefs_, *undisturbed.intercepts_), (*e.coefs_, *e.intercepts_), strict=True):
        mine[...] = other
    for solver in ("adam", "lm", "lbfgs"):
        one, other = (copy.deepcopy(each).set_params(solver=solver).fit(X, Y) for each in (plain, undisturbed))
        np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])
    assert np.abs(one.coefs_[0] - e.coefs_[0]).max() > 1e-3
    net = e.to_mlp()
    assert (net.dropout, net.input_dropout, net.input_noise) == ((0.5, 0.5), 0.1, 0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_on_one_thread_and_on_two(dtype):
    found = []
    for n_jobs in (1, 2):
        e = classifier(hidden_layer_sizes=(100, 60), dropout=0.3, solver="adamw", clip_norm=0.5, l1=0.1, n_jobs=n_jobs)
        found.append(e.fit(X.astype(dtype), Y).coefs_[0])
    assert found[0].dtype == dtype
    np.testing.assert_array_equal(*found)


# ---------------------------------------------------------------------------------------------------- ways of training

ALL = {
    "solver": "adamw",
    "dropout": 0.1,
    "l1": 0.01,
    "clip_norm": 1.0,
    "max_norm": 4.0,
    "learning_rate": bp.schedules.Exponential(0.01, 0.99),
    "activation": ["gelu", "tanh"],
}


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_all_ways_of_training(kind):
    make, (X_here, y) = (classifier, IRIS) if kind == "classifier" else (regressor, (D, T))
    classes = {"classes": [0, 1, 2]} if kind == "classifier" else {}
    y_hat = (lambda e: e.predict_proba(X_here)) if kind == "classifier" else (lambda e: e.predict(X_here))
    e = make(**ALL).fit(X_here, y)
    expected = y_hat(e)
    assert np.isfinite(expected).all()
    assert np.ptp(e.loss_curve_) > 0
    np.testing.assert_array_equal(y_hat(make(**ALL).fit(X_here, y)), expected)
    np.testing.assert_allclose(y_hat(make(**ALL).fit(sparse.csr_matrix(X_here), y)), expected, rtol=1e-9)
    np.testing.assert_array_equal(y_hat(make(**ALL).fit(X_here, y, sample_weight=np.ones(len(y)))), expected)
    assert make(**ALL).fit(X_here.astype("float32"), y).coefs_[0].dtype == np.float32
    frame = pd.DataFrame(X_here).rename(columns=str)
    named = make(**ALL).fit(frame, pd.Series(y))
    np.testing.assert_array_equal(named.feature_names_in_, frame.columns)
    np.testing.assert_array_equal(named.coefs_[0], e.coefs_[0])
    steps = make(**ALL)
    for _ in range(6):
        steps.partial_fit(X_here, y, **classes)
    assert len(steps.loss_curve_) == 6 == len(set(steps.loss_curve_))
    assert steps._own_optimizer.n_steps == 6 * math.ceil(len(y) / min(200, len(y)))
    again = make(**ALL, warm_start=True).fit(X_here, y).fit(X_here, y)
    assert len(again.loss_curve_) == 12
    assert again.loss_curve_[-1] < again.loss_curve_[0]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("solver", ["adamw", "rmsprop", "adam", bp.Lion(0.01)], ids=str)
def test_copies_go_on_alike(solver, copied):
    parameters = {**ALL, "solver": solver, "learning_rate": bp.schedules.ReduceOnPlateau(0.01, patience=1)}
    e = classifier(**parameters).partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y)
    other = copied(e)
    assert b"numba" not in pickle.dumps(e)
    for each in (e, other):
        each.partial_fit(X, Y).partial_fit(X, Y)
    np.testing.assert_array_equal(e.coefs_[0], other.coefs_[0])
    assert e._own_optimizer is not other._own_optimizer
    assert e.loss_curve_ == other.loss_curve_
    assert len(set(e.loss_curve_)) == 4


def test_parameters_do_not_change_in_a_fit():
    """Schedules and optimizers remember things; each fit has copies of them."""
    own = {
        "solver": bp.AdamW(bp.schedules.ReduceOnPlateau(0.01, patience=1)),
        "alpha": [0.1, 0.1, 0.1],
        "metrics": ["accuracy"],
    }
    e = classifier(**own, early_stopping=True)
    before = joblib.hash(e.get_params())
    first, second = (e.fit(X, Y).coefs_[0].copy() for _ in range(2))
    assert joblib.hash(e.get_params()) == before
    np.testing.assert_array_equal(first, second)
    with_rate = classifier(learning_rate=bp.schedules.Cosine(0.01)).fit(X, Y)
    assert joblib.hash(with_rate.learning_rate) == joblib.hash(bp.schedules.Cosine(0.01))
    again = clone(e)
    assert again.solver is not e.solver
    np.testing.assert_array_equal(again.fit(X, Y).coefs_[0], first)


def test_another_solver_begins_anew_and_adam_goes_on():
    e = classifier(solver="adamw").partial_fit(X, Y, classes=[0, 1, 2])
    own = e._own_optimizer
    assert e.partial_fit(X, Y)._own_optimizer is own
    e.set_params(solver="lion").partial_fit(X, Y)
    assert type(e._own_optimizer) is bp.Lion
    assert e._own_optimizer.n_steps == 1
    ways = []
    for limit in (None, 1e9):  # one that changes nothing, in some of the calls
        e = classifier()
        for n in range(6):
            e.set_params(clip_norm=None if n % 2 else limit).partial_fit(X, Y, classes=[0, 1, 2])
        ways.append(e)
    assert ways[0]._optimizer.t == ways[1]._optimizer.t == 6
    np.testing.assert_allclose(ways[0].coefs_[0], ways[1].coefs_[0], rtol=1e-12, atol=1e-14)


def test_pipelines_and_searches():
    pipeline = make_pipeline(StandardScaler(), classifier(solver="adamw", max_iter=30, learning_rate_init=0.01))
    grid = {"mlpclassifier__dropout": [0.0, [0.1, 0.0]], "mlpclassifier__clip_norm": [None, 1.0]}
    with joblib.parallel_config("threading", n_jobs=2):
        search = GridSearchCV(pipeline, grid, cv=2).fit(X, Y)
        assert cross_val_score(classifier(**ALL, n_jobs=1), X, Y, cv=2).shape == (2,)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ > 0.8
    assert search.set_params(estimator__mlpclassifier__l1=0.1).estimator[-1].l1 == 0.1


def test_a_joblib_dump(tmp_path):
    e = classifier(**ALL).fit(X, Y)
    joblib.dump(e, tmp_path / "net")
    other = joblib.load(tmp_path / "net")
    np.testing.assert_array_equal(other.predict_proba(X), e.predict_proba(X))
    assert other.history_.loss == e.history_.loss


# --------------------------------------------------------------------------------------------------------------- n_jobs


@pytest.mark.parametrize("fails", [False, True])
def test_n_jobs_limits_the_threads_and_restores_them(fails):
    seen, before = [], numba.get_num_threads()
    assert before > 1

    def look(run):
        seen.append(numba.get_num_threads())
        if fails:
            raise RuntimeError("on purpose")

    for n_jobs, expected in ((1, 1), (-1, before), (-2, before - 1), (None, before), (99, before)):
        e = classifier(n_jobs=n_jobs, callbacks=[look], max_iter=1)
        if fails:
            with pytest.raises(RuntimeError, match="on purpose"):
                e.fit(X, Y)
        else:
            e.fit(X, Y).partial_fit(X, Y)
            assert e.transform(X).shape == (150, 5)
        assert set(seen) == {expected}
        assert numba.get_num_threads() == before
        seen.clear()
    with pytest.raises(ValueError, match="n_jobs must be None, a number of threads, or negative, where -1 means all; got 0"):
        classifier(n_jobs=0).fit(X, Y)
    with pytest.raises(ValueError, match="The 'n_jobs' parameter of MLPClassifier must be an instance of 'int' or None"):
        classifier(n_jobs=1.5).fit(X, Y)
    assert numba.get_num_threads() == before


# -------------------------------------------------------------------------------------------------------------- failures


def state(e):
    """What a user may look at, as bytes."""
    return {
        k: pickle.dumps(v) for k, v in e.__getstate__().items() if k not in ("_random_state", "solver", "learning_rate_init")
    }


@pytest.mark.parametrize("how", ["fit", "warm start", "partial_fit"])
@pytest.mark.parametrize("solver", ["adamw", "sgd", "adam", "rmsprop"])
def test_diverged_training_leaves_the_estimator_as_it_was(solver, how):
    e = regressor(solver=solver, l1=0.1, warm_start=how == "warm start", max_iter=3).fit(D, T)
    for _ in range(2):
        e.partial_fit(D, T, X_val=D, y_val=T)
    own = e.__dict__.get("_own_optimizer")
    before, kept = state(e), None if own is None else own.snapshot()[1:3]
    e.set_params(learning_rate_init=1e300 if how == "fit" else 0.001)
    act = e.partial_fit if how == "partial_fit" else e.fit
    with pytest.raises(ValueError, match=r"non-finite parameter weights.*training diverged in epoch 1"):
        act(D * 1e200, T * 1e200, X_val=D, y_val=T)
    assert state(e) == before
    if own is not None:
        assert e._own_optimizer is own
        for array, other in zip(own.snapshot()[1:3], kept, strict=True):
            assert np.abs(other).max() > 0
            np.testing.assert_array_equal(array, other)
    assert np.isfinite(e.partial_fit(D, T).coefs_[0]).all()


@pytest.mark.parametrize("solver", ["adamw", "rmsprop", "lm"])
def test_a_net_is_not_trained_on_fewer_targets_than_it_has_outputs(solver):
    """Which the kernels would read beyond their end."""
    e = regressor(solver=solver, warm_start=True).fit(D, np.column_stack([T, T, T]))
    before = e.predict(D)
    for y in (np.column_stack([T, T]), T):
        n = 1 if y.ndim == 1 else 2
        with pytest.raises(
            ValueError, match=rf"the net has 10 inputs and 3 outputs, which X and y with 10 and {n} columns cannot"
        ):
            e.fit(D, y)
    np.testing.assert_array_equal(e.predict(D), before)
    assert e.n_outputs_ == 3


WRONG = {
    "dropout": ({"dropout": 1.0}, r"The 'dropout' parameter of MLPClassifier must be a float in the range \[0.0, 1.0\)"),
    "dropout of layers": (
        {"dropout": [0.1, 0.2, 0.3]},
        "dropout must be a number, or one for each of the 2 hidden layers; got 3",
    ),
    "dropout of a layer": ({"dropout": [0.1, 1.0]}, "dropout must be a number from 0 up to but not including 1; got 1.0"),
    "input_dropout": ({"input_dropout": [0.1]}, "The 'input_dropout' parameter of MLPClassifier must be a float in the range"),
    "input_noise": ({"input_noise": -1.0}, "The 'input_noise' parameter of MLPClassifier must be a float in the range"),
    "l1": ({"l1": -1.0}, r"The 'l1' parameter of MLPClassifier must be a float in the range \[0.0, inf\)"),
    "l1 of layers": ({"l1": [1.0]}, "l1 must be a number, or one for each of the 3 layers but the inputs; got 1 numbers"),
    "alpha of layers": ({"alpha": [1.0, -1.0, 1.0]}, "alpha must be a number of at least 0"),
    "clip_norm": ({"clip_norm": 0.0}, r"The 'clip_norm' parameter of MLPClassifier must be a float in the range \(0.0, inf\)"),
    "clip_value": (
        {"clip_value": "a"},
        r"The 'clip_value' parameter of MLPClassifier must be a float in the range \(0.0, inf\)",
    ),
    "max_norm": ({"max_norm": [1.0]}, "max_norm must be a number, or one for each of the 3 layers but the inputs; got 1"),
    "label_smoothing": (
        {"label_smoothing": 1.0},
        r"The 'label_smoothing' parameter of MLPClassifier must be a float in the ran",
    ),
    "class_weight": (
        {"class_weight": "equal"},
        r"The 'class_weight' parameter of MLPClassifier must be a str among \{'balanced'",
    ),
    "monitor": ({"monitor": 3}, "The 'monitor' parameter of MLPClassifier must be an instance of 'str' or None"),
    "metrics": ({"metrics": [3]}, "metrics must be names of scikit-learn's scorers, or functions scorer"),
    "callbacks": ({"callbacks": print}, "The 'callbacks' parameter of MLPClassifier must be an instance of 'list'"),
    "a callback": ({"callbacks": ["a"]}, "callbacks must be Callback objects of bpkernel or functions of the run; got 'a'"),
    "solver": ({"solver": bp.AdamW}, "The 'solver' parameter of MLPClassifier must be a str among"),
    "learning_rate": ({"learning_rate": 0.1}, "The 'learning_rate' parameter of MLPClassifier must be a str among"),
    "a rate": ({"learning_rate": lambda step: -1.0}, r"learning_rate\(0\) must be .*got -1.0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused_and_change_nothing(name):
    parameters, message = WRONG[name]
    e = classifier(**parameters)
    with pytest.raises((ValueError, TypeError), match=message):
        e.fit(X, Y)
    assert not hasattr(e, "coefs_")
    e = classifier().fit(X, Y)
    before = e.predict_proba(X)
    with pytest.raises((ValueError, TypeError), match=message):
        e.set_params(**parameters).fit(X, Y)
    np.testing.assert_array_equal(e.predict_proba(X), before)


OWN = {
    "dropout=0.1": {"dropout": 0.1},
    "dropout=[0.1, 0.0]": {"dropout": [0.1, 0.0]},
    "input_dropout=0.1": {"input_dropout": 0.1},
    "input_noise=0.1": {"input_noise": 0.1},
    "l1=0.1": {"l1": 0.1},
    "clip_norm=1.0": {"clip_norm": 1.0},
    "clip_value=1.0": {"clip_value": 1.0},
    "max_norm=1.0": {"max_norm": 1.0},
    "label_smoothing=0.1": {"label_smoothing": 0.1},
    "monitor='loss'": {"monitor": "loss"},
    "callbacks=[": {"callbacks": [bp.callbacks.EarlyStopping("loss")]},
    "alpha=[0.1, 0.1, 0.1]": {"alpha": [0.1, 0.1, 0.1]},
    "learning_rate=Cosine(": {"learning_rate": bp.schedules.Cosine(0.01)},
}


@pytest.mark.parametrize("name", OWN)
def test_solvers_with_all_samples_and_scikit_learn_do_not_have_them(name):
    for solver in ("lbfgs", "lm"):
        with pytest.raises(ValueError, match=f"solver='{solver}' does not have ") as raised:
            classifier(**OWN[name], solver=solver).fit(X, Y)
        assert name in str(raised.value)
    with pytest.raises(ValueError, match="scikit-learn's MLPClassifier has no such net or parameter: ") as raised:
        classifier(**OWN[name]).fit(X, Y).to_sklearn()
    assert name in str(raised.value)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (classifier(solver="adamw"), "solver='adamw'"),
        (classifier(solver=bp.SGD(0.1)), "solver=SGD("),
        (classifier(class_weight="balanced"), "class_weight='balanced'"),
        (regressor(output_activation="softplus"), "output_activation='softplus'"),
        (regressor(error_bars=True), "error_bars=True"),
        (regressor(loss=bp.Quantile(0.1, 0.9)), "loss=Quantile(0.1, 0.9)"),
        (classifier(early_stopping=True, metrics=["accuracy"]), "metrics=['accuracy']"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_to_sklearn_names_each_parameter(estimator, name):
    fitted = clone(estimator).fit(*IRIS)
    with pytest.raises(ValueError, match="has no such net or parameter") as raised:
        fitted.to_sklearn()
    assert name in str(raised.value)
    assert fitted.to_mlp().layer_sizes[0] == 4


def test_what_scikit_learn_has_is_converted_without_a_trace():
    """After training with validation data; the number of threads changes no result."""
    e = classifier(early_stopping=True, n_jobs=1).fit(X, Y, X_val=X, y_val=Y)
    there = e.to_sklearn()
    assert type(there) is original.MLPClassifier
    plain = original.MLPClassifier(**there.get_params()).fit(X, Y)
    assert there.__dict__.keys() == plain.__dict__.keys()
    np.testing.assert_allclose(there.predict_proba(X), e.predict_proba(X), rtol=1e-12)
    plain = classifier().fit(X, Y, X_val=X, y_val=Y).to_sklearn().partial_fit(X, Y)
    assert bp.MLPClassifier.from_sklearn(plain)._optimizer.t == 7
    assert classifier(callbacks=[], metrics=()).fit(X, Y).to_sklearn().score(X, Y) > 0
