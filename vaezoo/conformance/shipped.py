"""The fingerprints of vaezoo's own plugins that are proved, in proved.json.

`python -m vaezoo.conformance.shipped` proves the plugins that have changed, in quick mode, and writes those that pass.

A plugin with this fingerprint is proved, and no run has to prove it again; one that a user has edited has another
fingerprint. The test suite fails where proved.json is not that of the code.
"""

import json
import sys

from vaezoo.conformance.check import proofs_of, prove
from vaezoo.conformance.verdict import FAIL
from vaezoo.registry import SLOTS, find, registry
from vaezoo.runner.files import write_atomically
from vaezoo.runner.plan.fingerprint import fingerprint
from vaezoo.runner.verdicts import SHIPPED


def own_fingerprints() -> dict[str, str]:
    """The fingerprint of each plugin of vaezoo itself that takes part in a cell, by `slot/name`."""
    slots = [slot for slot in SLOTS if slot not in ("variant", "dataset")]
    own = [plugin for slot in slots for plugin in registry(slot).values() if plugin.module.startswith("vaezoo.")]
    return {f"{plugin.slot}/{plugin.name}": fingerprint(plugin) for plugin in own}


def changed() -> list[str]:
    """The plugins, as `slot/name`, whose fingerprint is not that of proved.json."""
    proved = json.loads(SHIPPED.read_text())
    return [name for name, value in own_fingerprints().items() if proved.get(name) != value]


def failures(name: str) -> list[str]:
    """A line for each proof that fails of the plugin `slot/name`, in quick mode."""
    plugin = find(name)
    found = (prove(plugin, proof, quick=True) for proof in proofs_of(plugin.slot))
    return [f"{name}: {each.proof}: {each.figure}: {each.detail}" for each in found if each.verdict == FAIL]


if __name__ == "__main__":
    wrong = {name: lines for name in changed() if (lines := failures(name))}
    proved = {name: value for name, value in own_fingerprints().items() if name not in wrong}
    write_atomically(SHIPPED, (json.dumps(proved, indent=0, sort_keys=True) + "\n").encode())
    sys.exit("\n".join(line for lines in wrong.values() for line in lines) or None)
