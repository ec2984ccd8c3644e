import io

from jaxlabel.runlog.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines_are_rare_except_the_first_and_last():
    stream = io.StringIO()
    progress = Progress(stream, seconds_between_lines=1000)
    for step in range(1, 101):
        progress.update("train", step, 100, f"loss {step}")
    progress.update("other", 1, 2)
    lines = stream.getvalue().splitlines()
    assert lines == ["train 1/100, loss 1", "train 100/100, loss 100", "other 1/2"]


def test_plain_lines_show_the_remaining_time(monkeypatch):
    stream, clock = io.StringIO(), iter(range(0, 1000, 5))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = Progress(stream, seconds_between_lines=0)
    progress.update("train", 10, 40)
    progress.update("train", 20, 40)
    assert stream.getvalue().splitlines()[0] == "train 10/40"
    seconds = int(stream.getvalue().splitlines()[1].split()[-3])
    assert seconds % 10 == 0 and 10 <= seconds <= 100  # two more times the first ten steps' time


def test_a_terminal_shows_a_bar_with_the_remaining_time():
    stream = Terminal()
    progress = Progress(stream)
    for step in (10, 20, 40):
        progress.update("train", step, 40, "loss 1")
    assert "train: 100%" in stream.getvalue() and "40/40" in stream.getvalue()
    assert "<" in stream.getvalue()
    progress.say("done")
    assert stream.getvalue().endswith("done\n")
