"""Names of fields that report on a call, and words that their values may be; data for `fields.py`.

Names are in lower case, without anything but letters and digits.
"""

from __future__ import annotations

from typing import Final

# fmt: off
ERROR_KEYS: Final = (
    "error", "errors", "err", "errormessage", "errormsg", "errordescription", "errordetail", "errordetails",
    "errortext",
    "exception", "traceback", "stacktrace", "failurereason", "failuremessage", "faultstring", "fault",
    "错误", "错误信息", "エラー", "오류", "ошибка", "erro", "erreur", "fehler", "errore",
)
CODE_KEYS: Final = ("code", "cod")
STATUS_KEYS: Final = ("status", "statuscode", "httpstatus", "httpcode", "httpstatuscode", "responsecode")
MESSAGE_KEYS: Final = (
    "message", "msg", "detail", "details", "reason",
    "mensaje", "mensagem", "nachricht", "messaggio", "сообщение", "消息", "信息", "提示", "メッセージ", "메시지",
)
REMARK_KEYS: Final = (
    "messages", "information", "note", "text", "description", "info", "hint", "stderr", "title",
)
ERROR_CODE_KEYS: Final = ("errorcode", "errcode", "errno")
ERROR_FLAGS: Final = ("iserror", "haserror", "failed", "isfailed", "errored", "failure")
SUCCESS_FLAGS: Final = ("success", "ok", "successful", "issuccess", "issuccessful", "succeeded")
EXIT_KEYS: Final = ("exitcode", "returncode", "exitstatus", "retcode", "rc")
OUTCOME_KEYS: Final = ("status", "result", "outcome", "resultstatus", "state")
COUNTS: Final = ("failed", "failure", "failures", "total", "skipped", "errors", "count", "passed")

# Fields that stand beside "failed" in a report on the call; beside others it is the state of an order or a job.
OF_REPORTS: Final = {
    *MESSAGE_KEYS, *REMARK_KEYS, *ERROR_KEYS, *ERROR_CODE_KEYS, *CODE_KEYS,
    "data", "result", "results", "output", "response", "timestamp", "requestid", "traceid", "errortype", "type",
    "path", "success", "tool", "toolname", "function",
    "ret",
}
# Fields that stand beside a code that names a refusal.
OF_REFUSALS: Final = OF_REPORTS | {
    "status", "httpstatus", "name", "stack", "errorname", "help", "docs",
    "documentationurl",
}

# Values of an error field that say that there is no error.
NO_ERROR: Final = frozenset((
    "", "none", "null", "nil", "false", "no", "no error", "no errors", "ok", "okay", "success", "successful", "n/a",
    "na", "{}", "[]", "-", "none found", "no error detected", "no errors found", "no errors detected", "undefined",
    "nan",
    "无", "没有", "无错误", "成功", "ninguno", "ninguna", "aucun", "aucune", "keine", "nessuno", "nenhum", "нет",
    "なし", "없음",
))
FAILED_WORDS: Final = (
    "fail", "failed", "failure", "fallido", "echec", "échec", "fehlgeschlagen", "falha", "fallito", "失败", "失敗",
    "실패", "विफल", "فشل", "неудача", "ошибка",
)
ERROR_WORDS: Final = (
    "error", "exception", "errored", "fatal", "错误", "エラー", "오류", "erreur", "fehler", "erro", "errore",
)
# Words of identifiers that name a refusal, such as those of Google's APIs, gRPC, OAuth and OpenAI.
REFUSAL_WORDS: Final = frozenset((
    "invalid", "denied", "error", "exception", "exhausted", "exceeded", "unauthenticated", "unauthorized",
    "unauthorised",
    "forbidden", "failed", "failure", "expired", "missing", "timeout", "refused", "unavailable", "unsupported",
    "illegal",
    "bad", "revoked", "unprocessable", "overloaded", "notfound",
))
NEGATED_WORDS: Final = frozenset((
    ("not", "found"), ("not", "allowed"), ("not", "implemented"), ("not", "supported"), ("not", "exist"),
    ("no", "such"),
))
# fmt: on
