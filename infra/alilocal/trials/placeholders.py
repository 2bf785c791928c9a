"""The placeholders of commands, paths and parameter files, filled in as the engine fills them in.

Source: https://github.com/alibaba/EasyRec, docs/source/automl/hpo_config.md and pai_nni_hpo.md. Each name of the
search space is replaced literally, wherever it occurs, by `str(value)`: a boolean becomes `True`. Ids are in lower
case.
"""

from __future__ import annotations

import json
import re

from alilocal.core.jsonvalue import JsonObject

_NAME = re.compile(r"\$\{(.*)\}")


def fill(text: str, values: JsonObject, experiment_id: str, trial_id: str, output: str = "") -> str:
    """Return `text` with hyperparameters, ids and the trial's folder `output` filled in."""
    for name, value in values.items():
        text = text.replace(name, str(value))
    own = {
        "${exp_id}": experiment_id.lower(),
        "${trial_id}": trial_id.lower(),
        "${NNI_OUTPUT_DIR}": output or "./tmp",
        "${tuner_params_list}": "".join(f"{name} {value} " for name, value in values.items()),
        "${tuner_params_dict}": "".join(f"{name}={value} " for name, value in values.items()),
        "${tuner_params_json}": json.dumps(values),
        "${params}": "_".join(f"{plain_name(name)}{value}" for name, value in values.items()),
    }
    for name, replacement in own.items():
        text = text.replace(name, replacement)
    return text


def plain_name(name: str) -> str:
    """Return the name of a hyperparameter without `${` and `}`."""
    found = _NAME.fullmatch(name)
    return found[1] if found else name


def variables(values: JsonObject) -> dict[str, str]:
    """Return the hyperparameters as environment variables: `PARAM_lr` for `${lr}`."""
    return {
        "PARAM_" + re.sub(r"\W", "_", plain_name(name), flags=re.ASCII): str(value).replace("\0", "")
        for name, value in values.items()
    }
