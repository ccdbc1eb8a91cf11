"""What pages hold that is written from the code while the site is built, so that it cannot rot."""
