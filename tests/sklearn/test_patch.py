"""bpkernel in place of scikit-learn's estimators."""

import pickle
import subprocess
import sys
import textwrap

import pytest
import sklearn.neural_network as original
from sklearn.neural_network import _multilayer_perceptron as private

import bpkernel as bp
import bpkernel.sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_patch_is_for_those_who_import_from_now_on():
    theirs = original.MLPClassifier
    with bpkernel.sklearn.patch():
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        assert (MLPClassifier, MLPRegressor) == (bp.MLPClassifier, bp.MLPRegressor)
        assert isinstance(MLPClassifier(), theirs)
        assert pickle.loads(pickle.dumps(theirs())).__class__ is theirs
        with bpkernel.sklearn.patch():
            pass
        assert original.MLPClassifier is bp.MLPClassifier
    assert original.MLPClassifier is theirs
    bpkernel.sklearn.patch()
    assert original.MLPRegressor is bp.MLPRegressor
    bpkernel.sklearn.unpatch()
    assert original.MLPClassifier is theirs is private.MLPClassifier
    with pytest.raises(ZeroDivisionError), bpkernel.sklearn.patch():
        1 / 0  # noqa: B018
    assert original.MLPClassifier is theirs


def test_a_program_runs_patched_without_an_edit(tmp_path):
    (tmp_path / "beside.py").write_text("NUMBER = 7")
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import sys
            from beside import NUMBER
            from sklearn.neural_network import MLPClassifier
            assert __name__ == "__main__"
            print(MLPClassifier.__module__, NUMBER, sys.argv[1:])
        """)
    )
    run = [sys.executable, "-m", "bpkernel.sklearn"]
    done = subprocess.run([*run, str(program), "--an", "argument"], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=2) == ["bpkernel.sklearn.estimators", "7", "['--an', 'argument']\n"]
    assert "usage" in subprocess.run(run, capture_output=True, text=True).stderr


def test_the_core_does_not_import_scikit_learn():
    program = "import bpkernel, sys; assert not [m for m in sys.modules if m.split('.')[0] in ('sklearn', 'joblib')]"
    program += (
        "; assert {'MLPClassifier', 'sklearn'} <= set(dir(bpkernel)); bpkernel.MLPClassifier; assert 'sklearn' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="no attribute 'MLPTransformer'"):
        bp.MLPTransformer  # noqa: B018
