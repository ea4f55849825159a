"""Training: what turns pictures and words into weights. Imports `tools`, never `assistant`.

A command of ``cli`` is read into ``settings`` and carried out by ``work`` and ``pipeline``:
``data`` is read and split, ``planning`` says whether it fits, one of ``learners`` learns in the
loop of ``training`` (made quick by ``speed``, shared by ``distributed``), ``evaluation`` measures
it, and ``report`` writes the run's folder (``runs``). ``shelf``, ``hub``, ``export`` and ``onnx``
hand it on, with the ``cards`` and ``instructions`` that say what it is. ``pocket`` makes the models
that are shipped.
"""
