"""Help text of ``earmark import``."""

HELP = """Bring sounds, with their labels, into a Label Studio project.

SOURCE is a folder; a bucket's address (s3://…, gs://…); or a file: CSV or TSV (columns fname,labels), \
JSON Lines, a list of URLs (.txt), an earlier export of Label Studio (.json) or of this tool (.jsonl).

Label files beside the recordings of a folder or bucket are recognised by their content: Raven tables, \
Audacity tracks, BirdNET and Kaleidoscope results, TextGrid, ELAN, RTTM, JAMS, DCASE event lists, any table \
with files and labels. So are the tables of ESC-50, UrbanSound8K, FSD50K, FSDKaggle, AudioSet and xeno-canto.

Every file is decoded and checked first. What cannot be read, is silent, too short or there twice is left \
out and listed in a report, a table and a page with pictures. Run it as often as you like: it looks up \
which sounds the project holds (by their content) and imports only the others, also after Ctrl-C, a crash, \
or a part imported by another person.

[bold]Examples[/]

  A folder and its subfolders, into project 3; only look at what would happen:
    earmark import recordings/ --project 3 --dry-run

  A new project, whose labels are the names of the subfolders:
    earmark import sorted/ --project "Night calls" --create --labels-from folder

  A CSV (fname,labels) as FSDKaggle2019 has it, first the noisy part, then the curated one:
    earmark import train_noisy.csv --audio-dir noisy/ --project Town --create --noisy
    earmark import train_curated.csv --audio-dir curated/ --project Town --curated

  FSDKaggle2018, which says for each file whether it was verified by hand:
    earmark import train.csv --audio-dir train/ --project 4 --trust-column manually_verified

  Regions, one a row, as suggestions that annotators correct:
    earmark import calls.csv --labels-column species --score-column p --project 3 --labels-as predictions

  Recordings with Raven tables, Audacity tracks or BirdNET results beside them:
    earmark import survey/ --project "Survey" --create

  Results of a detector, to be judged one by one (Correct, Incorrect, Unsure, or what it is):
    earmark import birdnet.csv --audio-dir recordings/ --verify "BirdNET, verified"

  Hour-long recordings, as tasks of 30 s each:
    earmark import field/ --project 3 --split 30

  Bats at 384 kHz, played and learned ten times as slow, exported in their own time:
    earmark import bats/ --project Bats --create --split 3 --time-expansion auto

  A bucket that Label Studio's own S3 storage signs addresses for:
    earmark import s3://sounds/2024/ --project 3

  Large files that Label Studio serves from its own folder:
    earmark import /srv/audio/field --project 3 --local-files

[bold]Exit codes[/]  0 everything is there; 1 some files or regions were left out (they are listed); 2 \
nothing could be done, or it broke off (settings, connection, labels); 130 stopped by Ctrl-C, run it again \
to go on.
"""
