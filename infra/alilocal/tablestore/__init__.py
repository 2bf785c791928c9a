"""Tablestore, API version 2015-12-31: the wide-column model.

`routes.py` lists the operations. `calls.py` has those on tables and `row_calls.py` those on rows. Bodies are Protocol
Buffers (`proto.py`), whose members `messages.py` names, and their rows are PlainBuffer (`plainbuffer.py`); `wire.py`
has the parts of messages that several operations share. `conditions.py` evaluates the condition of a write or the
filter of a read, and `selection.py` selects the cells that a read returns. `model.py` holds tables, rows and the
versions of cells.
"""
