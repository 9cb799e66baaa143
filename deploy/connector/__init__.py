"""How pyinfra talks to a machine: what reads goes a fast way, what changes goes pyinfra's own.

`ssh.CubeConnector` is pyinfra's connector ``@cube/HOST``: its SSH connector, but commands of facts
go through one shell that stays open (`shell`), answers are kept while nothing has changed
(`answers`), and what a run has asked is asked at once by the next (`memory`). docs/how-it-works.md
says what is assumed, and how to turn each part off.
"""
