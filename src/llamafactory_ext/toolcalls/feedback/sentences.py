"""How statements of failure begin in languages other than English; data for `languages.py`.

Patterns are matched at the beginning of a text in lower case: Latin letters without accents, Arabic ones without vowel
signs and hamza, Chinese in its simplified form, punctuation of full width as ASCII. Sentences about what was searched
for and not found are left out, as an empty result is a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from . import sentences_asia as asia
from . import sentences_europe as europe
from .sentence_parts import END, SHORT, STOP


def _others() -> tuple[str, ...]:
    """Return some of Dutch, Polish, Turkish, Vietnamese, Indonesian, Ukrainian, Swedish, Czech and Thai.

    "Error:" in some more.
    """
    return (
        rf"(?:fout|foutmelding|chyba|hiba|eroare|virhe|fejl|feil|greska|ralat|erro|σφαλμα|σφάλμα|грешка|שגיאה"
        rf"|خطا|ত্রুটি|பிழை|లోపం|"
        rf"blad|hata|loi|kesalahan|galat|помилка|fel){STOP}(?=\s*[:!.(])",
        r"er is (?:een )?(?:\w+ )?fout opgetreden|kan (?:\w+ ){1,6}niet \w+en\b|ongeldige? \w+"
        r"|toegang (?:geweigerd|verboden)|verzoek mislukt"
        rf"|(?!geen ){SHORT}\b(?:niet (?:gevonden|beschikbaar|geldig|toegestaan|ondersteund)|bestaat niet){END}",
        r"wystapil(?:o)? (?:\w+ )?(?:blad|problem)|blad (?:serwera|polaczenia|podczas|wewnetrzny)"
        r"|nie (?:udalo sie|mozna) \w+"
        r"|nieprawidlow\w+ \w+|brak (?:wymaganego )?(?:parametru|dostepu|uprawnien)|odmowa dostepu"
        r"|dostep (?:zabroniony|wzbroniony|odrzucony)|nie znaleziono (?!zadnych|wynikow|bledow|problemow)\w+"
        rf"|(?!zadn){SHORT}\b(?:nie (?:istnieje|dziala|jest dostepn[aey]|odpowiada)|nie zostal\w* znalezion\w+){END}",
        r"(?:bir |beklenmeyen )?hata (?:olustu|meydana)|(?:islem|istek|baglanti) basarisiz|gecersiz \w+"
        r"|erisim reddedildi"
        rf"|(?!(?:hic(?:bir)? |eslesen )?(?:sonuc|hata|sorun|kayit)){SHORT}\b(?:bulunamadi|gecersiz|mevcut degil"
        rf"|kullanilamiyor){END}",
        r"(?:da xay ra|co) loi|khong the \w+|(?:yeu cau|ket noi|thao tac) that bai|thieu tham so"
        r"|tham so khong hop le|truy cap bi tu choi|tu choi truy cap|khong tim thay (?!ket qua|loi|van de)\w+"
        rf"|{SHORT}\bkhong (?:hop le|ton tai|kha dung|duoc phep){END}",
        r"terjadi kesalahan|gagal \w+|tidak dapat \w+|akses ditolak|(?:parameter|permintaan) tidak valid|"
        rf"(?!hasil){SHORT}\btidak ditemukan{END}",
        r"(?:сталася|виникла) помилка|не вдалося|неможливо \w+|доступ заборонено|невірн\w+ \w+"
        r"|помилка (?:сервера|при|під час)"
        rf"|(?!(?:результат|збіг|нічого|помил|проблем)){SHORT}\bне (?:знайден[оаиі]?|існує|підтримується){END}",
        r"ett (?:\w+ )?fel (?:har )?(?:intraffa|uppst)|kunde inte|ogiltig\w* \w+|atkomst nekad|begaran misslyckades"
        rf"|(?!inga |inget ){SHORT}\b(?:hittades inte|finns inte|ar inte (?:tillganglig|giltig)){END}",
        r"pristup (?:odepren|zamitnut)|nelze \w+|neplatn\w+ \w+|(?:pozadavek|operace|pripojeni) selhal[ao]?"
        rf"|(?!zadn){SHORT}\b(?:neexistuje|nebyl[aoiy]? nalezen\w?|nenalezen\w?|neni dostupn\w+){END}",
        r"(?:เกิด)?ข้อผิดพลาด|ไม่สามารถ|การเชื่อมต่อล้มเหลว|คำขอล้มเหลว|ไม่พบ(?!ผล|ข้อผิด|ปัญหา|รายการ)\S|การเข้าถึงถูกปฏิเสธ",
    )


BEGINNINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "ar": asia.arabic(),
    "de": europe.german(),
    "es": europe.spanish(),
    "fr": europe.french(),
    "hi": asia.hindi(),
    "it": europe.italian(),
    "ja": asia.japanese(),
    "ko": asia.korean(),
    "pt": europe.portuguese(),
    "ru": europe.russian(),
    "zh": asia.chinese(),
    "nl pl tr vi id uk sv cs th": _others(),
}
"""By ISO 639; the last entry is of several languages."""
