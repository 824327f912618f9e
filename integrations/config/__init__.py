"""One typed tree of settings for every program, and where its values come from.

:mod:`.tree` has the settings, :mod:`.sources` reads them from files and the environment,
:mod:`.rules` says what does not go together, :mod:`.command` is ``playcast config``.
"""
