"""Folders of a mailbox: what they are for, whatever they are called, and which of them somebody has chosen. Pure.

A server says what a folder is for (RFC 6154, RFC 8457), or it does not: then its name does, in the language of whoever
made the mailbox.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from appliance.errors import UsageError
from appliance.language import later

Role = Literal["", "inbox", "sent", "drafts", "archive", "junk", "trash", "all", "flagged", "important"]
"""What a folder is for, whatever it is called (RFC 6154, RFC 8457); the inbox is INBOX of IMAP."""

Path: TypeAlias = tuple[str, ...]
"""A folder's names, from the top."""

ROLES: Final[frozenset[str]] = frozenset(
    {"inbox", "sent", "drafts", "archive", "junk", "trash", "all", "flagged", "important"}
)
LEFT_OUT: Final = (r"\Trash", r"\Junk", r"\Drafts")
"""What is left out where nobody says otherwise."""


class Selection(msgspec.Struct, frozen=True):
    r"""Which folders somebody has chosen, by patterns.

    A pattern is ``\Sent`` and so on for a role, or a path with ``/`` between its names, in which ``*`` stands for
    anything, ``%`` for anything but ``/`` and ``?`` for one character (``*`` and ``%`` as in LIST of RFC 9051);
    capital or small letters are the same. A pattern means the folders that it matches and all that is in them.
    """

    include: tuple[str, ...] = ()
    """Nothing means: all."""
    exclude: tuple[str, ...] = LEFT_OUT

    def chosen(self, folders: Iterable[tuple[Path, Role]]) -> frozenset[Path]:
        """Those of an account's folders that were chosen. Raises UsageError for a pattern that is none."""
        choice = Choice(self, dict(folders))
        return frozenset(filter(choice.takes, choice.roles))


class Choice:
    """A selection among the folders of one account."""

    def __init__(self, selection: Selection, roles: Mapping[Path, Role]) -> None:
        """``roles`` of the account's folders. Raises UsageError for a pattern that is none."""
        self.roles = roles
        self._include = [_Pattern(one) for one in selection.include]
        self._exclude = [_Pattern(one) for one in selection.exclude]
        self._found: dict[Path, tuple[bool, bool]] = {}

    def takes(self, folder: Path) -> bool:
        """Whether the folder is chosen; it need not be one of those that were listed."""
        included, excluded = self._means(folder)
        return included and not excluded

    def takes_message(self, folder: Path, labels: Collection[Path]) -> bool:
        """Whether a message is chosen that lies in a folder, and, by its labels, in others, too: one of them is
        chosen, and none of its labels is excluded."""
        if any(self._means(label)[1] for label in labels):
            return False
        return self.takes(folder) or any(map(self.takes, labels))

    def _means(self, path: Path) -> tuple[bool, bool]:
        """Whether the folder is meant to be included, and to be excluded; of many messages the same is asked."""
        if path not in self._found:
            included = not self._include or any(one.means(path, self.roles) for one in self._include)
            self._found[path] = included, any(one.means(path, self.roles) for one in self._exclude)
        return self._found[path]


class _Pattern:
    def __init__(self, text: str) -> None:
        text = text.strip()
        self._role = text[1:].lower() if text.startswith("\\") else ""
        if not text or (text.startswith("\\") and self._role not in ROLES):
            names = ", ".join(f"\\{role.capitalize()}" for role in sorted(ROLES))
            raise UsageError(
                later("“{pattern}” names no folders: give a path such as Projects/*, or one of {names}."),
                pattern=text,
                names=names,
            )
        wild = {"*": ".*", "%": "[^/]*", "?": "[^/]"}
        self._path = re.compile("".join(wild.get(char) or re.escape(char) for char in _folded(text)), re.DOTALL)

    def means(self, path: Path, roles: Mapping[Path, Role]) -> bool:
        """Whether the folder or one that it is in matches."""
        above = (path[:length] for length in range(1, len(path) + 1))
        if self._role:
            return any(roles.get(one) == self._role for one in above)
        return any(self._path.fullmatch(_folded("/".join(one))) for one in above)


def role_by_name(name: str) -> Role:
    """What a folder of that name is for in the languages that mail programs and servers speak; "" for any other."""
    return _BY_NAME.get(_folded(name), "")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


_NAMES: Final[Mapping[Role, tuple[str, ...]]] = {
    "sent": (
        # English, German, Dutch, Danish, Swedish, Norwegian, Icelandic, Finnish
        *("Sent", "Sent Items", "Sent Mail", "Sent Messages", "Sent Objects", "Sent-mail", "Outgoing Mail"),
        *("Gesendet", "Gesendete Elemente", "Gesendete Objekte", "Gesendete Nachrichten", "Gesendete Mails"),
        *("Gesendete E-Mails", "Postausgang gesendet", "Verzonden", "Verzonden items", "Verzonden berichten"),
        *("Sendt", "Sendt post", "Sendte elementer", "Sendte mails", "Skickat", "Skickade objekt", "Skickade"),
        *("Skickade meddelanden", "Sendte", "Sendte meldinger", "Sendt e-post", "Sent póstur", "Send atriði"),
        *("Lähetetyt", "Lähetetyt viestit", "Lähetetyt kohteet"),
        # French, Italian, Spanish, Portuguese, Catalan, Romanian
        *("Envoyés", "Éléments envoyés", "Messages envoyés", "Objets envoyés", "Courrier envoyé", "Envoyé"),
        *("Inviata", "Inviati", "Posta inviata", "Posta inviati", "Elementi inviati", "Messaggi inviati"),
        *(
            "Enviados",
            "Elementos enviados",
            "Mensajes enviados",
            "Correo enviado",
            "Itens enviados",
            "E-mails enviados",
        ),
        *("Itens Enviadas", "Mensagens enviadas", "Enviadas", "Enviats", "Elements enviats", "Correu enviat"),
        *("Trimise", "Elemente trimise", "Mesaje trimise"),
        # Polish, Czech, Slovak, Slovenian, Croatian, Serbian, Hungarian, Estonian, Latvian, Lithuanian
        *("Wysłane", "Elementy wysłane", "Wysłane wiadomości", "Odeslaná pošta", "Odeslané", "Odeslané zprávy"),
        *("Odoslaná pošta", "Odoslané", "Odoslané položky", "Odoslané správy", "Poslano", "Poslani predmeti"),
        *("Poslana pošta", "Poslane stavke", "Poslane poruke", "Poslati predmeti", "Послато", "Послате ставке"),
        *("Послате поруке", "Elküldött", "Elküldött elemek", "Elküldött üzenetek", "Elküldött levelek"),
        *("Saadetud", "Saadetud üksused", "Saadetud kirjad", "Nosūtītie", "Nosūtītie vienumi", "Nosūtītās vēstules"),
        *("Išsiųsti", "Išsiųsta", "Išsiųsti elementai", "Išsiųsti laiškai"),
        # Greek, Turkish, Russian, Ukrainian, Bulgarian
        *("Απεσταλμένα", "Απεσταλμένα στοιχεία", "Σταλμένα", "Gönderilmiş", "Gönderilmiş Öğeler", "Gönderilenler"),
        *(
            "Gönderilmiş Postalar",
            "Gönderilmiş İletiler",
            "Отправленные",
            "Отправлено",
            "Надіслані",
            "Надіслані елементи",
        ),
        *("Відправлені", "Изпратени", "Изпратена поща", "Изпратени елементи", "Изпратени съобщения"),
        # Arabic, Hebrew, Thai, Vietnamese, Indonesian, Japanese, Chinese, Korean
        *("المرسلة", "البريد المرسل", "العناصر المرسلة", "الرسائل المرسلة", "דואר יוצא", "פריטים שנשלחו", "נשלח"),
        *("דואר שנשלח", "ส่งแล้ว", "รายการที่ถูกส่ง", "จดหมายที่ส่งแล้ว", "Đã gửi", "Thư đã gửi", "Mục đã Gửi"),
        *(
            "Terkirim",
            "Item Terkirim",
            "送信済み",
            "送信済みアイテム",
            "送信済みメール",
            "送信済みトレイ",
            "已发送",
            "已发送邮件",
        ),
        *(
            "已发邮件",
            "已傳送",
            "寄件備份",
            "寄件匣備份",
            "已寄郵件",
            "보낸 편지함",
            "보낸메일함",
            "보낸 메일함",
            "보낸 메일",
        ),
    ),
    "drafts": (
        *("Drafts", "Draft", "Draft Messages", "Entwürfe", "Entwurf", "Concepten", "Concept", "Kladder", "Kladde"),
        *("Utkast", "Drög", "Luonnokset", "Brouillons", "Brouillon", "Bozze", "Bozza", "Borradores", "Borrador"),
        *("Rascunhos", "Rascunho", "Esborranys", "Schițe", "Ciorne", "Mesaje nefinalizate", "Wersje robocze"),
        *("Szkice", "Kopie robocze", "Koncepty", "Rozepsané", "Rozpracované", "Osnutki", "Skice", "Nacrti"),
        *("Нацрти", "Недовршено", "Piszkozatok", "Piszkozat", "Mustandid", "Melnraksti", "Juodraščiai", "Πρόχειρα"),
        *("Taslaklar", "Taslak", "Черновики", "Чернетки", "Чернови", "المسودات", "مسودات", "טיוטות", "ร่างจดหมาย"),
        *(
            "แบบร่าง",
            "ร่าง",
            "Bản nháp",
            "Thư nháp",
            "Nháp",
            "Draf",
            "Konsep",
            "下書き",
            "草稿",
            "草稿箱",
            "草稿匣",
            "임시 보관함",
        ),
        *("임시보관함", "임시 보관"),
    ),
    "trash": (
        *("Trash", "Deleted Items", "Deleted Messages", "Deleted", "Bin", "Wastebasket", "Rubbish", "Papierkorb"),
        *("Gelöscht", "Gelöschte Elemente", "Gelöschte Objekte", "Gelöschte Nachrichten", "Prullenbak", "Prullenmand"),
        *(
            "Verwijderde items",
            "Verwijderde berichten",
            "Verwijderd",
            "Papirkurv",
            "Slettet post",
            "Slettede elementer",
        ),
        *("Slettede mails", "Slettede beskeder", "Borttagna objekt", "Borttaget", "Papperskorgen", "Papperskorg"),
        *("Søppel", "Søppelkasse", "Papirkurven", "Slettede meldinger", "Slettet", "Eydd atriði", "Ruslafata", "Rusl"),
        *("Roskakori", "Poistetut", "Poistetut viestit", "Poistetut kohteet", "Corbeille", "Éléments supprimés"),
        *("Messages supprimés", "Supprimés", "Cestino", "Posta eliminata", "Elementi eliminati", "Eliminati"),
        *("Papelera", "Papelera de reciclaje", "Elementos eliminados", "Mensajes eliminados", "Eliminados", "Lixo"),
        *("Lixeira", "Itens Eliminados", "Itens Excluídos", "Excluídos", "Mensagens excluídas", "Elementos excluídos"),
        *("Reciclagem", "Paperera", "Elements eliminats", "Elements suprimits", "Coș de gunoi", "Coș", "Gunoi"),
        *("Elemente șterse", "Mesaje șterse", "Kosz", "Elementy usunięte", "Usunięte", "Koš", "Odstraněná pošta"),
        *("Odstraněné", "Odstraněné položky", "Kôš", "Odstránená pošta", "Odstránené položky", "Vymazané položky"),
        *("Izbrisano", "Izbrisani predmeti", "Smeti", "Smeće", "Otpad", "Izbrisane stavke", "Kanta za smeće", "Смеће"),
        *(
            "Отпад",
            "Избрисане ставке",
            "Obrisane stavke",
            "Kuka",
            "Lomtár",
            "Törölt elemek",
            "Törölt",
            "Törölt üzenetek",
        ),
        *("Prügikast", "Prügi", "Kustutatud üksused", "Kustutatud", "Miskaste", "Atkritne", "Izdzēstie vienumi"),
        *("Dzēstie vienumi", "Šiukšlinė", "Šiukšliadėžė", "Panaikinti elementai", "Κάδος απορριμμάτων", "Κάδος"),
        *("Διαγραμμένα", "Διαγραμμένα στοιχεία", "Çöp", "Çöp Kutusu", "Çöp Sepeti", "Silinmiş Öğeler", "Silinmiş"),
        *("Корзина", "Удаленные", "Удалённые", "Удаленные элементы", "Кошик", "Видалені", "Видалені елементи", "Кошче"),
        *(
            "Изтрити",
            "Изтрити елементи",
            "سلة المهملات",
            "المهملات",
            "العناصر المحذوفة",
            "المحذوفات",
            "אשפה",
            "סל מחזור",
        ),
        *("פריטים שנמחקו", "ถังขยะ", "รายการที่ถูกลบ", "Thùng rác", "Mục đã Xóa", "Thư đã xóa", "Sampah", "Item Terhapus"),
        *(
            "ゴミ箱",
            "ごみ箱",
            "削除済みアイテム",
            "已删除",
            "已删除邮件",
            "垃圾桶",
            "废件箱",
            "回收站",
            "刪除的郵件",
            "垃圾筒",
            "已刪除",
        ),
        *("휴지통", "지운 편지함", "삭제된 항목", "삭제된 메시지"),
    ),
    "junk": (
        *("Junk", "Junk E-mail", "Junk Email", "Junk Mail", "Spam", "Bulk Mail", "Bulk", "Spamverdacht", "Junk-E-Mail"),
        *("Unerwünscht", "Unerwünschte Werbung", "Unerwünschte Nachrichten", "Spam-Verdacht", "Ongewenst"),
        *("Ongewenste e-mail", "Ongewenste reclame", "Uønsket", "Uønsket mail", "Uønsket post", "Uønsket e-mail"),
        *("Uønsket e-post", "Søppelpost", "Skräp", "Skräppost", "Ruslpóstur", "Ruslpóst", "Roskaposti", "Indésirables"),
        *("Indésirable", "Courrier indésirable", "Pourriel", "Posta indesiderata", "Indesiderata", "Correo no deseado"),
        *(
            "Correo basura",
            "No deseado",
            "Lixo Eletrônico",
            "Lixo Eletrónico",
            "Lixo Electrónico",
            "Correio não solicitado",
        ),
        *(
            "Correu brossa",
            "Correu no desitjat",
            "Mesaje nedorite",
            "E-mailuri nedorite",
            "Nedorit",
            "Wiadomości-śmieci",
        ),
        *("Wiadomości śmieci", "Niechciane", "Nevyžádaná pošta", "Nevyžádané", "Nevyžiadaná pošta", "Nezaželena pošta"),
        *("Vsiljena pošta", "Neželjena pošta", "Neželjeno", "Bezvrijedna pošta", "Neželjena e-pošta", "Нежељена пошта"),
        *("Levélszemét", "Kéretlen levelek", "Rämpspost", "Mēstules", "Surogātpasts", "Nevēlams e-pasts", "Brukalas"),
        *("Šlamštas", "Nepageidaujami laiškai", "Ανεπιθύμητα", "Ανεπιθύμητη αλληλογραφία", "Gereksiz", "Önemsiz"),
        *("Gereksiz E-posta", "Önemsiz E-posta", "İstenmeyen", "Istenmeyen posta", "Спам", "Нежелательная почта"),
        *("Небажана пошта", "Небажана", "Нежелана поща", "Нежелана", "البريد العشوائي", "بريد إلكتروني غير هام"),
        *("البريد غير الهام", "الرسائل غير المرغوب فيها", "דואר זבל", "ספאם", "สแปม", "อีเมลขยะ", "จดหมายขยะ"),
        *(
            "Thư rác",
            "Email rác",
            "Email Sampah",
            "Email Sampah (Spam)",
            "迷惑メール",
            "迷惑メールトレイ",
            "垃圾邮件",
            "垃圾电子邮件",
        ),
        *("垃圾郵件", "정크 메일", "스팸", "스팸함", "스팸 메일함", "스팸메일함", "정크 전자 메일"),
    ),
    "archive": (
        *("Archive", "Archives", "Archived", "Archiv", "Archief", "Arkiv", "Safn", "Arkisto", "Archivio", "Archivo"),
        *("Arquivo", "Arquivo morto", "Arxiu", "Arhivă", "Arhiva", "Archiwum", "Archív", "Arhiv", "Архива", "Archívum"),
        *("Arhiiv", "Arhīvs", "Archyvas", "Αρχειοθήκη", "Αρχείο", "Arşiv", "Архив", "Архів", "الأرشيف", "أرشيف"),
        *("ארכיון", "เก็บถาวร", "Lưu trữ", "Arsip", "アーカイブ", "存档", "归档", "封存", "보관", "보관함"),
    ),
}
_BY_NAME: Final[Mapping[str, Role]] = {_folded(name): role for role, names in _NAMES.items() for name in names}
