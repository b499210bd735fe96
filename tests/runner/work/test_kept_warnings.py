"""What vaezoo warns of in a cell stands in its record."""

import warnings

from linear_model import linear_model

from vaezoo.core.errors import VaezooWarning
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.runner.work.kept_warnings import warnings_kept


def test_each_warning_is_kept_once_and_shown(capsys):
    known = linear_model(6, shift=3.5, images=40)
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.showwarning = lambda message, category, *where, **more: print(f"shown: {message}")
        with warnings_kept() as said:
            for samples in (1000, 1000, 1200):
                log_likelihood(known.model, known.x, samples)
            warnings.warn("someone else's", UserWarning, stacklevel=1)
    assert len(said) == 2
    assert all(text.startswith("log_likelihood: Pareto k is above 0.7 at K = 1,") for text in said)
    assert capsys.readouterr().out.count("shown: log_likelihood") == 3
    assert warnings.showwarning is before
    assert issubclass(VaezooWarning, UserWarning)


def test_nothing_said_is_nothing_kept():
    known = linear_model(2)
    with warnings_kept() as said:
        log_likelihood(known.model, known.x, 1000)
    assert said == []
