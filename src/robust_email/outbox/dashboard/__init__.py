"""The outbox's pages in Django's admin: how things stand, the relays, one mail's life, and the doctor.

==============  =====================================================================================================
``figures``     what the dashboard shows, read from indexes and tallies
``governors``   breaker, connections and rates of a relay, as all workers see it
``charts``      figures as the browser draws them
``listing``     pages of mails without a count, and filters that an index answers
``views``       the dashboard, what it lets an operator do, and the doctor
==============  =====================================================================================================

Nothing here speaks to a relay but the doctor: actions change rows and wake workers.
"""
