"""Sentences that state a failure in languages other than English, and what kind of failure they are about.

A sentence counts by how it begins, or as a whole if it is short. "Error" inside a sentence is a topic: no pattern
looks for it there. Latin letters are compared without accents, Arabic ones without vowel signs and hamza.
"""

from __future__ import annotations

import re
import unicodedata

from .categories import (
    OTHERS,
    PARAMETER_HALLUCINATION,
    PARAMETER_MISSING,
    TOOL_CALL_FAILURE,
    TOOL_HALLUCINATION,
    TOOL_INSTABILITY,
)
from .sentences import BEGINNINGS

_LONGEST = 1_500  # characters of a text that may be one statement of failure
_READ = 400  # characters of it that are looked at

_LATIN_MARKS = re.compile(r"(?<=[a-z])[\u0300-\u036f]+")
_ARABIC_SIGNS = re.compile(r"[\u064b-\u0655\u0640]")
# Quotes of all kinds, Arabic letters of one sound, Latin letters that Unicode does not take apart, and the traditional
# forms of the Chinese characters that the patterns use.
_SAME = str.maketrans(
    {
        "’": "'",
        "‘": "'",
        **dict.fromkeys("“”„«»「」『』", '"'),
        "ى": "ي",
        "ی": "ي",
        "ک": "ك",
        "ł": "l",
        "ı": "i",
        "đ": "d",
    }
    | dict(
        zip(
            "錯誤敗無詢參數連線務請網絡絕權憑證過處獲讀創執調運類據庫終這體項標籤頁應點識別導導師給變轉發計編譯設檔對稍碼資訊",
            "错误败无询参数连线务请网络绝权凭证过处获读创执调运类据库终这体项标签页应点识别导导师给变转发计编译设档对稍码资讯",
            strict=True,
        )
    )
)


def _fold(text: str) -> str:
    """Return letters as the patterns have them; capitals are the caller's."""
    text = unicodedata.normalize("NFKD", text)
    text = unicodedata.normalize("NFC", _ARABIC_SIGNS.sub("", _LATIN_MARKS.sub("", text)))
    return text.translate(_SAME)


_DECORATION = re.compile(r"[^\w《〈]{0,6}?(?=\w)")
_STATED = re.compile(_fold("|".join(pattern for patterns in BEGINNINGS.values() for pattern in patterns)))

_PARAMETER = (
    r"(?:par[ae]m\w*|argument\w*|campo|champ|feld|параметр\w*|аргумент\w*|поле|参数|字段|パラメータ|引数|項目"
    r"|매개변수"
    r"|파라미터|인수|필드|पैरामीटर|फ़ील्ड|معلم|معامل|حقل|alan|parametr\w*|tham so)"
)
_MISSING = (
    r"(?:falta|ausente|faltante|obligatori|obrigatori|requerid|manqu|requis|obligatoire|fehl(?:t|en)"
    r"|erforderlich|mancant"
    r"|obbligatori|отсутств|обязательн|не указан|不能为空|缺|必填|必须|必須|指定されていません|不足|필수|누락|आवश्यक"
    r"|अनुपस्थित|مفقود|مطلوب|eksik|brak|ontbre|thieu)"
)
_UNKNOWN = (
    r"(?:desconocid|desconhecid|inattendu|inconnu|inesperad|unbekannt|unerwartet|sconosciut|неизвестн|неожиданн|未知"
    r"|多余|不明な|未定義|알 수 없는|अज्ञात|غير معروف|bilinmeyen|nieznan|onbekend|khong xac dinh)"
)
_TOOL = (
    r"(?:herramienta|funcion\b|outil|fonction\b|werkzeug|funktion\b|strumento|funzione\b|ferramenta|funcao\b"
    r"|инструмент"
    r"|функци|工具|函数|ツール|関数|도구|함수|उपकरण|फ़ंक्शन|اداة|دالة)"
)
_ABSENT = (
    r"(?:no (?:se )?(?:encontr|existe)|nao (?:foi |encontr|existe)|introuvable|n'existe pas|nicht (?:gefunden"
    r"|verfugbar)"
    r"|existiert nicht|non (?:trovat|esiste)|не (?:найден|существует)|不存在|未找到|找不到|未定义"
    r"|見つかりません|存在しません"
    r"|찾을 수 없|존재하지 않|नहीं मिल|मौजूद नहीं|غير موجود|لم يتم العثور)"
)
_KINDS = {
    PARAMETER_HALLUCINATION: rf"{_UNKNOWN}.{{0,30}}{_PARAMETER}|{_PARAMETER}.{{0,30}}{_UNKNOWN}",
    PARAMETER_MISSING: rf"{_MISSING}.{{0,40}}{_PARAMETER}|{_PARAMETER}.{{0,60}}{_MISSING}",
    TOOL_HALLUCINATION: rf"{_UNKNOWN}.{{0,10}}{_TOOL}|{_TOOL}.{{0,60}}{_ABSENT}",
    TOOL_INSTABILITY: (
        r"con(?:n)?e(?:x|ss)|conectar|verbind|соединени|подключ|连接|连线|接続|연결|접속|कनेक्|कनेक्शन|اتصال"
        r"|servidor|serveur|server|сервер|服务|系统繁忙|サーバ|서버|सर्वर|خادم|servicio|servico|dienst|servizio"
        r"|сервис|서비스|خدمة"
        r"|tiempo de espera|tempo (?:limite|esgotado|scaduto)|delai|zeituberschr|истекло|超时|タイムアウト"
        r"|시간.{0,3}초과|مهلة"
        r"|denegad|negad|refuse|verweigert|negato|запрещ|отказано|拒绝|拒否|거부|مرفوض|رفض|autori[sz]"
        r"|berechtigung|未授权"
        r"|权限|権限|권한|अनुमति|مصرح|limit|quota|kontingent|лимит|配额|频率|次数|上限|한도|सीमा|الحد"
    ),
    TOOL_CALL_FAILURE: (
        r"fall[oó]|echec|echou|fehlgeschlagen|falh|fallit|не удалось|не выполнен|失败|失敗|실패|विफल|असफल|فشل"
        r"|تعذر|impossi"
        r"|no se (?:ha )?p[ou]d|konnte|nao foi possivel|无法|できません|할 수 없|basarisiz|nie udalo|mislukt"
        r"|gagal|that bai"
    ),
}  # fmt: skip
_KIND_PATTERNS = {kind: re.compile(_fold(pattern)) for kind, pattern in _KINDS.items()}


def stated_elsewhere(text: str) -> bool:
    """Tell whether a text begins as a statement of failure does, in a language other than English."""
    if len(text) > _LONGEST:
        return False
    folded = _fold(text[:_READ].lower())
    begins = _DECORATION.match(folded)
    return begins is not None and _STATED.match(folded, begins.end()) is not None


def kind_elsewhere(report: str) -> str:
    """Return the category of a report in a language other than English; `OTHERS` if it names none."""
    folded = _fold(report[:_READ].lower())
    return next((kind for kind, pattern in _KIND_PATTERNS.items() if pattern.search(folded)), OTHERS)
