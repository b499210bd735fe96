r"""No text that users or plugins name is markup, a command, a formula or a control sequence where it is shown."""

import csv
import io
import re
from dataclasses import replace
from types import SimpleNamespace

import pandas
import pytest
from folders import a_record, write
from frames import cells, framed
from rich.console import Console
from small_tasks import a_task

from vaezoo.cli.display import speeds_table
from vaezoo.cli.progress import Live
from vaezoo.core.columns import Column
from vaezoo.core.visible_text import one_line, visible
from vaezoo.reports.formats import Line, Sheet, Terminal, escape_csv, escape_latex, escape_markdown, latex, markdown
from vaezoo.reports.tables import tables
from vaezoo.runner.records import Record
from vaezoo.runner.store import Store

CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
HOSTILE = [
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "\x9b2J",
    "=HYPERLINK(1)",
    "[bold]x[/bold] [/] :bug:",
    "a|b\nno significant loss",
    "<script>alert(1)</script>",
    "![x](http://e.x) [y]: z",
    r"\input{/etc/passwd} $x$ %",
    "\u202egnp.exe",
    "half \ud800",
]


DATASET, COLUMN = "=data\x1b[2J|set", "=c\x1b|"


def made(folder, shift):
    records = []
    for text in HOSTILE:
        for seed in range(2):
            records.append(a_record(text, seed, {"iwll": -86 + shift * (1 + seed), COLUMN: 1.5}, dataset=DATASET))
        records.append(a_record(text, 2, {}, status="failed", reason=text, dataset=DATASET))
    return write(folder, records, columns=[Column(COLUMN, "\x1b[1m[red]")])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two results folders whose labels, data sets, reasons and columns are hostile."""
    here = tmp_path_factory.mktemp("hostile")
    return made(here / "a", 0.0), made(here / "b", 0.5)


@pytest.mark.parametrize("command", ["tables", "status", "compare"])
def test_the_command_line_prints_no_control_character_and_reads_no_markup(shell, folders, command):
    done = shell(command, *folders[: 1 + (command == "compare")])
    assert (done.code, done.err) == (0, "")
    assert not CONTROL.search(done.out)
    assert "[bold]x[/bold] [/] :bug:" in done.out
    assert r"\x1b[31mred\x1b[0m \x1b]0;title\x07" in done.out
    lines = [line for line in done.out.splitlines() if line == "no significant loss"]  # which a label says, too
    assert len(lines) == (command == "compare")


def test_the_written_tables_are_safe(shell, folders):
    folder = folders[0]
    assert shell("tables", folder).code == 0
    written = {path.suffix: path.read_text(encoding="utf-8") for path in (folder / "tables").iterdir()}
    assert set(written) == {".md", ".csv", ".tex"}
    assert r"\\x1b[1m[red] |" in written[".md"]
    assert "'=c" in written[".csv"]
    assert not any(CONTROL.search(text) for text in written.values())
    table = [line for line in written[".md"].splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert not re.search(r"(?<!\\)<|(?<!\\)\]\(", written[".md"])
    found = list(csv.reader(io.StringIO(written[".csv"])))
    assert not [cell for line in found for cell in line if re.match(r"[=+@\t\r]|-(?![\d.])", cell)]
    assert r"\input" not in written[".tex"]


def test_an_error_prints_no_control_character(shell, tmp_path):
    assert not CONTROL.search(shell.wrong("status", tmp_path / "\x1b[2J"))


def test_visible_text():
    assert visible("a\x1b[0m\x9b\n\t\x7f") == r"a\x1b[0m\x9b\n\t\x7f"
    assert visible("\u202e\u2028\ud800\ufeff\u200b") == r"\u202e\u2028\ud800\ufeff\u200b"
    for text in ("é ± 漢字 [x]", "no\u00a0break", "a\u200dz"):
        assert visible(text) == text
    assert one_line(" a \n\t b\x00") == r"a b\x00"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a|b\nc", r"a\|b c"),
        ("`x` *y* _z_ a_b", r"\`x\` \*y\* \_z\_ a_b"),
        ("<b>", r"\<b>"),
        ("![x](y) [x][y] [a] b", r"![x\](y) [x\][y] [a] b"),
        ("&lt; &#60; a & b; AT&T", r"\&lt; \&#60; a & b; AT&T"),
        ("$x$", r"\$x\$"),
        ("\x1b[0m", r"\\x1b[0m"),
    ],
)
def test_markdown(text, wanted):
    assert escape_markdown(text) == wanted


@pytest.mark.parametrize("text", ["# a", "> a", "- a", "+ a", "1. a", "12) a", "= a", "===", "---"])
def test_no_paragraph_begins_a_block_of_markdown(text):
    page = markdown(Sheet("t", [text], ["label"], [Line((text,))], [], [text], [text]))
    for line in page.splitlines()[1:]:
        assert not re.match(r"(- )?([#>+=]|-(?!\s\S|-*:?\|)|\d+[.)])", line) or line == "## Details", line


def test_latex():
    assert escape_latex("a\\b{c}%\n$d$ ^^M~\x1b") == (
        r"a\textbackslash{}b\{c\}\% \$d\$ \textasciicircum{}\textasciicircum{}M\textasciitilde{}\textbackslash{}x1b"
    )
    sheet = Sheet("title\nx", ["lead\n\\end"], ["label"], [Line(("a",))], [], ["note %"], ["detail\n\\end"])
    assert latex(sheet).startswith("% title x\n% detail \\end\n\\begin{tabular}")
    assert r"\noindent note \%\par" in latex(sheet)
    assert r"\noindent lead \textbackslash{}end\par" in latex(sheet)
    assert escape_latex("--out `ls` ''") == r"-{}-out \textasciigrave{}ls\textasciigrave{} '{}'"


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd", "-cmd", "@sum", " =1", "\t=1", "\r=1", "＝1", "-86 or so", "=1,2", "'=1", '"=1']
)
def test_csv_texts_are_no_formulas(text):
    assert escape_csv(text) == f"'{visible(text)}"


@pytest.mark.parametrize("value", ["-86.4", "+1e3", "-inf", "a=b", "", "vae", -1.5, None, True])
def test_csv_numbers_and_plain_texts_stay(value):
    assert escape_csv(value) is value


def test_csv_texts_are_no_formulas_where_a_spreadsheet_divides_lines_at_semicolons():
    assert escape_csv("a; =1+1;@b;c") == "a;' =1+1;'@b;c"


def test_csv_keeps_its_numbers_and_escapes_its_headings():
    frame = framed(
        cells("=a", [-86.0, -86.1, -86.2], **{"=x.y": -5}), cells("-7", [-87.0], **{"=x.y": "-low"}), settings=["=x.y"]
    )
    read = pandas.read_csv(io.StringIO(tables(frame)[0].csv()))
    assert read.label.tolist() == ["'=a", "-7"]
    assert read["'=x.y"].tolist() == ["-5", "'-low"]
    assert read.iwll_mean.dtype.kind == "f"


def test_the_terminal_escapes_every_part_of_a_sheet():
    bad = "\x1b[31m[red]\n"
    sheet = Sheet(bad, [bad], [bad, bad], [Line((bad, bad))], [Line((bad, bad))], [bad], [bad], [bad, bad])
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(Terminal(sheet, [sheet], details=True))
    printed = console.file.getvalue()
    assert not CONTROL.search(printed)
    assert printed.count(r"\x1b[31m[red]") == 2 * 10
    console = Console(file=io.StringIO(), width=30, color_system=None)
    console.print(Terminal(Sheet("", [], ["label", "a" * 30, "b" * 30], [], [], [], [], ["label", "a", bad])))
    assert r"\x1b[31m[red]" in console.file.getvalue()
    assert not CONTROL.search(console.file.getvalue())
    assert not CONTROL.search(markdown(sheet))


def test_bars_of_a_run_read_no_markup(tmp_path):
    """A label like `[/]` would be an error of rich's markup."""
    task = a_task(tmp_path)
    object.__setattr__(task.cell, "label", "[/] \x1b[2J :bug:")
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    live = Live(console)
    live.begin("cells", 1, 0)
    live.tick([task])
    live.bars.refresh()
    live.finished(task, "failed")
    live.close()
    printed = console.file.getvalue()
    assert r"[/] \x1b[2J :bug: on digits" in printed
    assert "\x1b[2J" not in printed
    assert any("[1/1] failed" in line and ":bug:" in line for line in printed.splitlines())


def test_the_line_of_a_cell_names_the_metrics_that_failed(tmp_path):
    task = a_task(tmp_path)
    failed = {"bpd": "why", "fid": "why"}
    Store(tmp_path).prepare()
    Store(tmp_path).write(task.cell, replace(Record.of(task.cell, "ok"), results={"iwll": -1.0}, failed_metrics=failed))
    console = Console(file=io.StringIO(), width=100)
    Live(console).finished(task, "ok")
    assert console.file.getvalue().rstrip().endswith("iwll -1.00  metrics bpd, fid failed")


def test_a_speed_table_reads_no_markup():
    facts = {"work": "train", "device": "cpu", "precision": "float32", "threads": 1, "batch_size": 8, "seeds": 1}
    table = speeds_table([SimpleNamespace(variant="[/]\x1b", dataset="[red]", **facts, per_second=None)])
    console = Console(file=io.StringIO(), width=150, color_system=None)
    console.print(table)
    assert r"[/]\x1b" in console.file.getvalue()
    assert "[red] on cpu" in console.file.getvalue()


def test_data_sets_settings_sources_and_commands_are_texts_in_every_file():
    """`<script>`, `|`, `$`, backticks and a right-to-left mark, wherever a user may write them."""
    bad = "=<script>|$x$`y`\u200f\n# z"
    reference = {"label": bad, "dataset": bad, "iwll": -1.0, "source": bad}
    rows = cells(
        bad, [-86.0, -87.0], dataset=bad, warnings=bad, command=bad, commit=bad, device=bad, **{"train.x": bad}
    )
    other = cells("b", [-80.0, -81.0], dataset=bad, **{"train.x": 1})
    references = [reference, reference | {"row": bad}]
    (table,) = tables(framed(rows, other, settings=["train.x"], references=references, overlaps={bad: bad}, name=bad))
    page, paper, sheet = table.markdown(), table.latex(), table.csv()
    for text in (page, paper, sheet):
        assert not CONTROL.search(text)
        assert "\u200f" not in text
    assert not re.search(r"(?<!\\)[<`$]", page)
    assert [line for line in page.splitlines() if line.startswith("#")][1:] == [
        "## measured and published",
        "## Details",
    ]
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 2  # of two tables
    code = "\n".join(line for line in paper.splitlines() if not line.startswith("%"))
    assert not re.search(r"<|\||`|(?<!\\)#", code)
    assert r"\textless{}script\textgreater{}\textbar{}\$x\$\textasciigrave{}y" in code
    found = list(csv.reader(io.StringIO(sheet)))
    assert not [cell for line in found for cell in line if re.match(r"\s*[=+@]", cell)]
