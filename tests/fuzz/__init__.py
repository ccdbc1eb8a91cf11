"""Files from outside, changed at random, against every reader; and commands killed at random moments.

`make fuzz` runs both and writes out/fuzz/results.json, `python tests/fuzz --help` says the options. An input is a
function of the seed and its number alone, so that `python tests/fuzz --replay NUMBER` shows one again.

damage/      changes by format: pictures, arrays, archives, JSON, YAML, safetensors, tars, tables
rewrite.py   changes of spelling, after which a file means what it meant
plain.py     small readers of our own to compare with: PNG, safetensors
subjects/    what is read: files that are whole, and the reader of each
worker.py    a process that reads inputs one after the other and says what came out
campaign.py  the processes, their watchdog, the counts
kills/       commands that are interrupted, and run again
report.py    counts as the table in docs/explanation/reliability.md
"""
