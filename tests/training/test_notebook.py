"""`vaezoo.train` trains in this process and returns the history as a frame."""

import linecache
import warnings

import pytest
import torch
from changing_parts import Annealed
from small_models import dataset, pair

import vaezoo
from vaezoo import VaezooError, VaezooWarning
from vaezoo.training.loop import train
from vaezoo.training.options import TrainingOptions

OPTIONS = {"epochs": 3, "batch_size": 20, "learning_rate": 1e-2, "validation_images": 20}


def test_it_is_the_training_of_a_cell():
    data = dataset()
    (model, _), (twin, objective) = pair(data), pair(data)
    history = vaezoo.train(model, data, seed=5, **OPTIONS)
    outcome = train(twin, objective, data, TrainingOptions(**OPTIONS), seed=5)
    assert all(torch.equal(*both) for both in zip(model.parameters(), twin.parameters(), strict=True))
    assert list(history.columns) == ["objective", "validation_iwll", "seconds"]
    assert history.index.tolist() == [1, 2, 3]
    assert history.objective.tolist() == [p.objective for p in outcome.history]
    assert history.validation_iwll.tolist() == [p.validation_iwll for p in outcome.history]
    assert history.attrs == {"best_epoch": outcome.best_epoch, "best_iwll": outcome.best_iwll}


def test_an_objective_is_a_name_or_an_object():
    data = dataset()
    found = [
        vaezoo.train(pair(data)[0], data, objective=objective, **OPTIONS).objective.iloc[-1]
        for objective in (None, "elbo", "iwae", Annealed())
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_classes_of_a_notebook_train(monkeypatch):
    """They run eagerly, or replayed where they declare it: their source is that of the cell."""
    scope = {"vaezoo": vaezoo, "__name__": "__main__"}
    code = """
class Doubled(vaezoo.Objective):
    def forward(self, draws):
        return 2 * draws.log_weight.mean(0)

class Declared(Doubled):
    replayable = True
"""
    monkeypatch.setitem(linecache.cache, "<cell>", (len(code), None, code.splitlines(True), "<cell>"))
    exec(compile(code, "<cell>", "exec"), scope)
    data = dataset()
    with pytest.warns(VaezooWarning, match=r"^runs eagerly: objective Doubled.* does not declare replayable = True$"):
        history = vaezoo.train(pair(data)[0], data, objective=scope["Doubled"](), **OPTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replayed = vaezoo.train(pair(data)[0], data, objective=scope["Declared"](), **OPTIONS)
    assert history.objective.tolist() == replayed.objective.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 3}, "training option 'epoch' is unknown; did you mean 'epochs'?"),
        ({"epochs": 0}, "training option 'epochs' must be >= 1, got 0"),
        ({"learning_rate": 0.0}, "training option 'learning_rate' must be > 0, got 0.0"),
        ({"gradient_clip": -1.0}, "training option 'gradient_clip' must be > 0, got -1.0"),
        ({"batch_size": 2.5}, "training option 'batch_size' must be a whole number, got 2.5"),
        ({"schedule": "cosin"}, "training option 'schedule': value 'cosin' is unknown; did you mean 'cosine'?"),
        ({"objective": "elbow"}, "objective 'elbow' is unknown; did you mean 'elbo'?"),
    ],
)
def test_wrong_options_are_refused(options, message):
    data = dataset()
    with pytest.raises(VaezooError) as refused:
        vaezoo.train(pair(data)[0], data, **options)
    assert str(refused.value) == message


def test_data_of_another_kind_are_refused():
    data = dataset()
    other = vaezoo.Dataset(data.train.x.float(), data.valid.x.float(), data.test.x.float(), "continuous")
    with pytest.raises(VaezooError, match=r"the model was built for DataSpec\(.*'binary'.*'continuous'"):
        vaezoo.train(pair(data)[0], other)
