"""Rich text: what Outlook packed into it comes out as it was, whatever writes it and whatever it holds."""

from __future__ import annotations

import compressed_rtf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.mapi import rtf

EXAMPLE = bytes.fromhex(
    "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
)
"""MS-OXRTFCP section 3.1.1."""

HTML = rb"""{\rtf1\ansi\ansicpg1252\fromhtml1 \deff0{\fonttbl
{\f0\fswiss Arial;}{\f1\fnil\fcharset204 Cyr;}{\f2\fnil\fcharset128 Jp;}}
{\colortbl\red0\green0\blue0;}
\uc1\pard\plain\deftab360 \f0\fs24
{\*\htmltag18 <html>}{\*\htmltag0 \par }{\*\htmltag50 <p title="a\'e4\{b\}">}\htmlrtf {\htmlrtf0
"""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (rb"plain", "plain"),
        (rb"a\par b\tab c", "a\r\nb\tc"),
        (rb"{\*\htmltag84 &lt;}\htmlrtf <\htmlrtf0 x", "&lt;x"),
        (rb"{\*\mhtmltag4 <img src=old>}{\*\htmltag4 <img src=new>}", "<img src=new>"),
        (rb"\'e4\'f6", "äö"),
        (rb"\f1\'cf\'f0", "Пр"),
        (rb"\htmlrtf\f1\htmlrtf0\'cf\plain\'e4", "Пä"),
        (rb"{\f2\'93\'fa\'96\'7b}\'e4", "日本ä"),
        (rb"\u8364 ?x\u-10179 ?\u-8703 ?y", "€x😁y"),
        (rb"\uc2\u228 ab\uc0\u246 cd", "äöcd"),
        (rb"\u228\'e4z", "äz"),
        (rb"\lquote a\rquote\~\emdash \bullet", "‘a’\xa0—•"),
        (rb"{\pict\bin4 }{}}x}{\*\unknown y}z", "z"),
        (rb"a\{b\}\\c", "a{b}\\c"),
        (rb"{{{deep}}}", "deep"),
    ],
)
def test_html_comes_out(content: bytes, expected: str) -> None:
    rich = HTML + content + rb"\htmlrtf }\htmlrtf0{\*\htmltag58 </p>}{\*\htmltag27 </html>}}"
    assert rtf.origin(rich) == "html"
    start = '<html>\r\n<p title="aä{b}">'
    assert rtf.original(rich) == f"{start}{expected}</p></html>"


def test_text_comes_out() -> None:
    rich = b"{\\rtf1\\ansi\\fromtext \\deff0{\\fonttbl{\\f0 Arial;}}\\f0 a\\par\r\n\\par b \\'80\\par }\r\n\0"
    assert rtf.origin(rich) == "text"
    assert rtf.original(rich) == "a\r\n\r\nb €\r\n"


def test_real_rich_text_gives_its_text() -> None:
    link = rb'{\field{\*\fldinst HYPERLINK "http://x.org"}{\fldrslt link}}'
    rich = rb"{\rtf1{\fonttbl{\f0 Arial;}}{\info{\author me}}\b bold\b0  and " + link + rb"{\pict 0102}\par}"
    assert rtf.origin(rich) == "rtf"
    assert rtf.original(rich) == "bold and link\r\n"
    assert rtf.has_pictures(rich) and not rtf.has_pictures(HTML)


@given(
    st.lists(
        st.sampled_from([b"\\par ", b"abc", b"{\\rtf1\\ansi", b" " * 30, b"x"]) | st.binary(max_size=30), max_size=200
    )
)
def test_what_was_compressed_comes_back(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    for is_compressed in (True, False):
        assert rtf.decompressed(compressed_rtf.compress(text, compressed=is_compressed)) == text


def test_the_specifications_examples_come_out() -> None:
    """MS-OXRTFCP sections 3.1.1 and 3.1.2."""
    assert rtf.decompressed(EXAMPLE) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    second = "1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0"
    assert rtf.decompressed(bytes.fromhex(second)) == b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"


@pytest.mark.parametrize("cut", range(len(EXAMPLE) - 8))
def test_what_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(rtf.RtfError):
        rtf.decompressed(EXAMPLE[:cut])
