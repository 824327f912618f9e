"""The bus over Redis: see :mod:`.bus`."""
