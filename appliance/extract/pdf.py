"""The text of a PDF, by PDFium."""

from __future__ import annotations

from appliance.extract.limits import ATTACHMENT_TEXT, EncryptedError

_MOST_PAGES = 2_000


def read(data: bytes) -> str:
    """Text page by page, up to the limit. Raises EncryptedError; anything else means that it is broken."""
    import pypdfium2  # six megabytes that a child without PDFs need not carry

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise EncryptedError from error
        raise
    pieces: list[str] = []
    size = 0
    try:
        for number in range(min(len(document), _MOST_PAGES)):
            page = document[number]
            words = page.get_textpage()
            text = words.get_text_range()
            words.close()
            page.close()
            pieces.append(text)
            size += len(text)
            if size > ATTACHMENT_TEXT:
                break
    finally:
        document.close()
    return "\n".join(pieces)
