"""The engine that runs the trials of experiments on this machine, for `LocalCloud(run_trials=True)`.

It knows nothing of requests: PAI AutoML hands it an experiment's configuration and reads its record.

    engine.py      which experiments run here; starts and ends their runners
      runner.py    one thread per experiment: asks the tuner, starts trials, reads metrics, obeys the assessor
        search.py      one configuration with its tuner and assessor; the tuners of Optuna (TPE, Evolution, GP)
        plan.py        the configuration, checked; a reason if it cannot run here
        space.py       the search space, and values drawn from it
        tuners.py      the tuners Random and GridSearch
        assessor.py    PAIAssessor, which stops trials early
        metrics.py     metrics from output and files; eventfile.py reads those of TensorBoard
        trial.py       one trial: its folder, its commands with the placeholders filled in, its metrics
        processes.py   starts host.py, a process that is the parent of all commands and ends them with itself
    record.py      the record of a run, which snapshots keep; paiautoml/triallogs.py writes the logs from it
    placeholders.py  placeholders of commands and paths
"""
