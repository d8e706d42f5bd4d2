"""Reference models, data and commands: what the demo and ``collapse-logging fit`` run."""
