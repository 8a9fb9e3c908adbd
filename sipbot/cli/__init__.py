"""The command line: one file a command, joined in ``main``.

Exit codes: 0 it worked, 1 the thing itself failed (a call not answered, a check that found
problems), 2 a mistake in the command or in the configuration. Modules that take long to import are
imported inside the commands, so that ``--help`` is quick.
"""
