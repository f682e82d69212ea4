"""Small documents of each kind, made here so that nobody's are needed."""

from __future__ import annotations

import base64
import io
import zipfile


def zipped(members: dict[str, str | bytes]) -> bytes:
    """A ZIP file of these members: the same bytes whenever it is made, for tests have their names from it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 21, 12, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def word(*paragraphs: str) -> bytes:
    """A .docx."""
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    return zipped({"word/document.xml": f'<w:document xmlns:w="urn:w"><w:body>{body}</w:body></w:document>'})


def spreadsheet() -> bytes:
    """A .xlsx with a shared string, an inline string and a number."""
    return zipped(
        {
            "xl/sharedStrings.xml": '<sst xmlns="urn:s"><si><t>Umsatz</t></si></sst>',
            "xl/worksheets/sheet1.xml": '<worksheet xmlns="urn:s"><sheetData><row><c t="s"><v>0</v></c>'
            '<c t="inlineStr"><is><t>Köln</t></is></c><c><v>4711</v></c></row></sheetData></worksheet>',
        }
    )


def slides(*texts: str) -> bytes:
    """A .pptx."""
    return zipped(
        {
            f"ppt/slides/slide{number}.xml": '<p:sld xmlns:p="urn:p" xmlns:a="urn:a">'
            f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:sld>"
            for number, text in enumerate(texts, 1)
        }
    )


def open_document(text: str) -> bytes:
    """A .odt."""
    return zipped({"content.xml": f'<o:d xmlns:o="urn:o" xmlns:text="urn:t"><text:p>{text}</text:p></o:d>'})


def pdf(text: str) -> bytes:
    """A one-page PDF (ISO 32000-1 annex H.2)."""
    stream = f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    written = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(written))
    return written + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table) + trailer


def mail_with(name: str, content_type: str, content: bytes, text: str = "see attachment") -> bytes:
    """A mail with one attachment."""
    head = (
        "From: anna@example.com\r\nSubject: with a file\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        f"--b\r\n\r\n{text}\r\n--b\r\nContent-Type: {content_type}\r\n"
        f'Content-Disposition: attachment; filename="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    )
    return head.encode() + base64.encodebytes(content) + b"\r\n--b--\r\n"
