"""The fingerprints of vaezoo's own plugins, in proved.json: `python -m vaezoo.conformance.shipped` writes them anew.

The test suite proves every one of these plugins, and fails where proved.json is not that of the code. So a plugin with
this fingerprint is proved, and no run has to prove it again; one that a user has edited has another fingerprint.
"""

import json

from vaezoo.registry import SLOTS, registry
from vaezoo.runner.files import write_atomically
from vaezoo.runner.plan.fingerprint import fingerprint
from vaezoo.runner.verdicts import SHIPPED


def own_fingerprints() -> dict[str, str]:
    """The fingerprint of each plugin of vaezoo itself that takes part in a cell, by `slot/name`."""
    slots = [slot for slot in SLOTS if slot not in ("variant", "dataset")]
    own = [plugin for slot in slots for plugin in registry(slot).values() if plugin.module.startswith("vaezoo.")]
    return {f"{plugin.slot}/{plugin.name}": fingerprint(plugin) for plugin in own}


if __name__ == "__main__":
    write_atomically(SHIPPED, (json.dumps(own_fingerprints(), indent=0, sort_keys=True) + "\n").encode())
