"""Commands that are interrupted: what is there afterwards is whole, and running them again ends as if nothing was.

commands.py   the commands, and their runs in forks of this process, which has imported everything
moments.py    when: by the clock, or at one of the changes of files that a run makes
power.py      what a power cut leaves: what was synced
kinds.py      the kinds of interruptions
campaign.py   interruptions by their numbers, what comes of them, the counts
"""
