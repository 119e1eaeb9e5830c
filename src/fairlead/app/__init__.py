"""Floor 6. The only composition root: makes one of each part, joins them, starts and stops them.

Two lifetimes. What belongs to the process (store, listener, clients) is made in ``parts`` and lives
until it stops. What belongs to the configuration (the Catalog) is made in ``sources``, anew with
each reload, and swapped whole.
"""
