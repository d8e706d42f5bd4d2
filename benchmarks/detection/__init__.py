"""The detection benchmark: real trainings, their truth, and what the detector said of them.

``python -m benchmarks.detection run`` trains what has no record yet (``--only text/`` a part of
it, ``--subset`` twenty, ``--jobs 2`` at a time; Ctrl-C and go on later), ``audit`` shows each
training's truth beside its levels, ``report`` replays every rule over the records and writes
``results/detection.json`` and ``results/detection.md``.

The way of a datum: ``variants`` and ``cases`` say what is trained, ``families`` how; ``record``
trains and keeps the packed windows, ``truth`` decides from held-out rows, ``replay`` runs a rule
over the windows, ``evaluate`` scores it, ``tables`` writes it down. A record is found by the hash
of its case; raise ``cases.RECORD_VERSION`` when a family's code changes.
"""
