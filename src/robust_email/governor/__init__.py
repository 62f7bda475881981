"""The governor's store in the project's database, where there is no Redis: a Django app with one small table."""
