"""PAI AutoML, API version 2022-08-28: hyperparameter optimisation experiments."""
