"""What SuperNNova's network alone costs; runs in SuperNNova's own environment, and imports nothing of snflow.

`python supernnova_inside.py RESULT.json validate_rnn ...`, with the words of `snn validate_rnn` after the result: it
does what that command does, counting and timing the calls of its network, then calls the network once for each light
curve, in SuperNNova's own batches.
"""

import json
import sys
import time

RESULT = sys.argv.pop(1)
ACTION = sys.argv.pop(1)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from supernnova import conf  # noqa: E402
from supernnova.training.vanilla_rnn import VanillaRNN  # noqa: E402
from supernnova.utils import training_utils  # noqa: E402
from supernnova.validation import validate_rnn  # noqa: E402


class Counted:
    """Calls of a network: seconds of CPU time, light curves and steps."""

    def __init__(self, forward):
        self.forward = forward
        self.reset()

    def reset(self):
        """Forget what was."""
        self.seconds, self.light_curves, self.steps = 0.0, 0, 0

    def __call__(self, network, packed, *words, **named):
        """Call the network."""
        started = time.process_time()
        answer = self.forward(network, packed, *words, **named)
        self.seconds += time.process_time() - started
        self.light_curves += int(packed.batch_sizes[0])
        self.steps += len(packed.data)
        return answer


def main():
    """Measure, and write the result."""
    settings = conf.get_settings(ACTION)
    model_file = settings.model_files[0]
    settings = conf.get_settings_from_dump(settings, model_file)
    settings.random_length = False
    counted = Counted(VanillaRNN.forward)
    VanillaRNN.forward = lambda *words, **named: counted(*words, **named)

    started = time.process_time()
    validate_rnn.get_predictions(settings, model_file=model_file)
    seconds = time.process_time() - started
    n = len(training_utils.load_HDF5(settings, test=True))
    found = {"n_objects": n, "seconds": seconds, "passes": counted.light_curves / n, "in_network": counted.seconds}
    with open(RESULT, "w") as file:
        json.dump(found | once(settings, model_file, counted), file)


def once(settings, model_file, counted):
    """Return what one pass of every light curve costs, without and with the making of batches."""
    network = training_utils.get_model(settings, len(settings.training_features))
    network.load_state_dict(torch.load(model_file, map_location="cpu", weights_only=False))
    network.eval()
    light_curves = training_utils.load_HDF5(settings, test=True)
    places = np.array_split(np.arange(len(light_curves)), max(1, len(light_curves) // settings.batch_size))
    best = {}
    for _ in range(3):
        counted.reset()
        started = time.process_time()
        with torch.no_grad():
            for batch in places:
                network(training_utils.get_data_batch(light_curves, batch, settings)[0])
        seconds = time.process_time() - started
        if not best or counted.seconds < best["network_alone"]:
            best = {
                "network_alone": counted.seconds,
                "with_batches": seconds,
                "steps": counted.steps / len(light_curves),
            }
    return best


main()
