"""The command line: one command per file. Only commands import typer; output goes by ``terminal``.

``serve`` and the bare command start without any of the two libraries (``foreground``), since a
service should be up before a table could be drawn.
"""
