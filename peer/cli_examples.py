"""What stands below the options in the commands' ``--help``: how they are used, by example."""

EXAMPLES = """\
examples:
  playcast host                       stream this machine's display, or a game of its own
  playcast host --source pattern      stream a test picture
  playcast view 'http://…/#room=…'    watch one, record it, or see how it does
  playcast doctor                     find out what is missing on this machine
  playcast serve --dev                signalling and the web viewer alone
  playcast token --role host          a token for that server
  playcast login ISSUER               sign in where others' tokens come from
  playcast config check               is the configuration right?

"playcast COMMAND --help" tells more about each, with examples.
"""

HOST_EXAMPLES = """\
examples:
  playcast host
      stream $DISPLAY; without one, a game on a virtual display
  playcast host --source game --size 1920x1080 --bitrate 12M
      the game, larger
  playcast host --source game --controller fixed --bitrate 20M
      a network of one's own: never less, however the frames arrive
  playcast host --display :0 --region 1280x720+100+50
      a part of a display; --monitor HDMI-1 and --window 0x1c00007 are other parts
  playcast host --source pattern --fps 30 --json
      a test picture, with one JSON object a second on standard output
  playcast host --policy approval --controls turns --turn-time 60 --pads 2
      you let people in; two of them play at a time, for a minute each while others wait
  PLAYCAST_TOKEN=… playcast host --signalling wss://play.example/ws --room arena \\
                --bind 0.0.0.0 --udp-port 40000 --announce 203.0.113.5
      through a server that others reach too, with one UDP port to forward
  playcast host --signalling wss://a.play.example/ws --signalling wss://b.play.example/ws --login
      through the first, and through the second where that ends or cannot be reached: the stream,
      the room and everyone's seat go on. Both must share their rooms (playcast serve --redis)

Without --signalling, host starts a server of its own in dev mode. That serves this machine alone,
and so does the media, unless --bind says otherwise. To share with others, on a LAN as on the
Internet, run "playcast serve" with an issuer of tokens, and host with --signalling.

Defaults may stand in a file (--config FILE), a directory of secrets (--secrets DIRECTORY) and the
environment: see playcast config --help.
"""

VIEW_EXAMPLES = """\
examples:
  playcast view 'http://127.0.0.1:8080/#room=play&token=…'
      statistics of what playcast host streams there; its link in quotes, for it holds # and &
  playcast view LINK --window
      the picture too; F is full screen, Q or Escape ends (pip install "playcast[window]")
  playcast view LINK --record game.mkv --duration 60
      a minute as it comes, without encoding anew
  playcast view LINK --snapshot now.png
      one picture, then the end
  playcast view LINK --ask pad:1
      ask for the first game pad, and see what becomes of it
  playcast view LINK --signalling wss://b.play.example/ws
      by another server of the same rooms too, should the link's own be away
  playcast view LINK --json --no-fec --jitter 50
      one JSON object a second; without forward error correction, evened out by 50 ms

The token may be in $PLAYCAST_TOKEN instead of the link; --token-command, --token-file or --login
win over both. Exit status: 0 when there was a picture and the host or you ended it, 1 when there
was none or it was lost, 2 for wrong options. Defaults may stand in a file (--config FILE) and the
environment: see playcast config --help.
"""

DOCTOR_EXAMPLES = """\
examples:
  playcast doctor
  playcast doctor --bind 0.0.0.0 --udp-port 40000
      can media be received there?
  playcast doctor --json

Exit status: 0 when this machine can host, 1 when a check failed.
"""
