"""The bench prints its table; what it measures depends on the machine."""

import re

from tests import bench


def test_views_are_far_smaller_than_stock(monkeypatch, capsys):
    monkeypatch.setattr(bench, "_setup_line", lambda: [("setup line", "1 s", "")])
    assert bench.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("setup line")
    for line in lines[1:5]:
        ours, stock = (
            int(n.replace(",", "")) for n in re.findall(r"([\d,]+) byte", line)
        )
        assert ours < 60_000 and stock > 1_000_000
