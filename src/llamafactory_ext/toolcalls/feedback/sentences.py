"""How statements of failure begin in languages other than English; data for `languages.py`.

Patterns are matched at the beginning of a text in lower case: Latin letters without accents, Arabic ones without vowel
signs and hamza, Chinese in its simplified form, punctuation of full width as ASCII. Sentences about what was searched
for and not found are left out, as an empty result is a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_STOP = r"(?=\s*(?:[:!.。।(\[]|\s[-–—]|\Z))"  # after a noun that means error
_END = r"[\s.!。।]*\Z"
_CODE = r"(?=\s*\d{3}\b(?! (?:es|est|ist|e|fue|fut|war) ))"
_SHORT = r"[^.!?:。।\n]{1,60}?"


def _spanish() -> tuple[str, ...]:
    thing = (
        r"(?:solicitud|peticion|operacion|consulta|conexion|llamada|busqueda|accion|transaccion|sesion|servicio|servidor"
        r"|archivo|fichero|usuario|credencial(?:es)?|permisos?|contrasena|parametro|argumento|campo|valor|token|clave|cuenta|herramienta|funcion|ciudad|pagina"
        r"|recurso|codigo|fecha|formato|id|producto|pedido|cliente|pago|reserva|ruta|url|api)\b"
    )
    return (
        rf"error(?:es)?{_STOP}|error{_CODE}",
        r"error (?:interno|desconocido|inesperado|fatal|grave|critico|del? (?:conexion|red|servidor|autenticacion|sistema"
        r"|validacion|sintaxis|base de datos|lectura|formato|tiempo)|al \w+r\b|(?:durante|en) (?:la|el) \w+)",
        r"(?:se )?(?:ha |han )?(?:ocurrio|ocurrido|produjo|producido|hubo|habido) (?:un |algun )?(?:\w+ )?(?:error|problema"
        r"|fallo)",
        r"fall[oa](?:\b(?= (?:al|en|de|del) )|\s*:)",
        r"no (?:se )?(?:ha |han )?(?:pudo|pudieron|puede|pueden|podido|pudimos|podemos)\b",
        r"no (?:fue|ha sido|es) posible|imposible \w+r\b|(?:no )?autorizacion (?:fallida|requerida)",
        r"no (?:se )?(?:ha )?(?:encontro|encontrado|existe) (?:el|la|ningun|ninguna|un|una) "
        r"(?!.{0,12}(?:resultado|coincidencia|registro|error|problema))",
        rf"falta(?:n)? (?:el |la |los |un |algun )?(?:\w+ )?{thing}",
        rf"(?:el |la |su |tu )?{thing}[^.!?\n]{{0,60}}(?:\bfallo\b|\bha fallado\b|no (?:es |son |esta )?(?:valid|disponible"
        r"|encontrad|reconocid|permitid|soportad|responde|existe)|invalid[oa]s?\b|es (?:obligatori|requerid|desconocid)"
        r"|\bfalta\b|ausente|caducad|expirad|fallid[oa]|rechazad[oa]|denegad[oa]|incorrect[oa])",
        r"(?:acceso|permiso) denegado|no (?:esta |tiene )?(?:autorizad|permiso|acceso)",
        r"tiempo de espera (?:agotado|excedido)|se agoto el tiempo|servicio (?:temporalmente )?no disponible",
        r"limite (?:de [^.]{1,40})?(?:excedid|superad|alcanzad)|(?:se )?ha (?:superado|excedido) el limite",
        r"lo sent(?:imos|o)\b.{0,40}(?:no|error)|algo salio mal|algo ha ido mal|intentelo (?:de nuevo )?mas tarde",
        rf"{_SHORT}\bno (?:encontrad[oa]s?|existe|valid[oa]s?){_END}",
    )


def _portuguese() -> tuple[str, ...]:
    thing = (
        r"(?:solicitacao|requisicao|pedido|operacao|consulta|conexao|ligacao|chamada|busca|acao|transacao|sessao|servico"
        r"|servidor|arquivo|ficheiro|usuario|credencia(?:l|is)|permissao|utilizador|parametro|argumento|campo|valor|token|chave|conta|ferramenta"
        r"|funcao|cidade|pagina|recurso|codigo|data|formato|id|produto|cliente|pagamento|reserva|url|api|senha)\b"
    )
    return (
        rf"erros?{_STOP}|erro{_CODE}",
        r"erro (?:interno|desconhecido|inesperado|fatal|grave|critico|d[eo] (?:conexao|rede|servidor|autenticacao|sistema"
        r"|validacao|sintaxe|banco de dados|leitura|formato)|ao \w+r\b|(?:durante|n[ao]) (?:a |o )?\w+\s*[:.])",
        r"(?:ocorreu|aconteceu|houve) (?:um |algum )?(?:\w+ )?(?:erro|problema|falha)",
        r"falha\b(?=\s*:| (?:ao|na|no|de|do|da) )|nao (?:foi|e|era) possivel|nao (?:pode|conseguimos|consegui)\b",
        rf"falta(?:m|ndo)? (?:o |a |um |uma )?(?:\w+ )?{thing}|impossivel \w+r\b",
        rf"(?:o |a |seu |sua )?{thing}[^.!?\n]{{0,60}}(?:\bfalhou|nao (?:e |esta |foi |pode )?(?:valid|disponivel|encontrad"
        r"|reconhecid|permitid|suportad|responde|existe|ser )|invalid[oa]s?\b|e (?:obrigatori|desconhecid)|ausente|faltando"
        r"|expirad|expirou|rejeitad|negad[oa]|recusad[oa]|incorret[oa])",
        r"(?:acesso|permissao) negad[oa]|nao autorizad|sem permissao|(?:tempo|limite)[^.]{0,30}(?:esgotado|excedido|atingido)",
        r"servico (?:temporariamente )?indisponivel|(?:desculpe|lamentamos)\b.{0,40}(?:nao|erro)|algo (?:deu|correu) (?:errad|mal)",
        rf"{_SHORT}\bnao (?:encontrad[oa]s?|existe|valid[oa]s?){_END}",
    )


def _french() -> tuple[str, ...]:
    thing = (
        r"(?:requete|demande|operation|connexion|recherche|action|transaction|session|service|serveur|appel|fichier"
        r"|utilisateur|parametre|argument|champ|valeur|jeton|cle|compte|outil|fonction|ville|page|ressource|code|date"
        r"|format|identifiant|produit|commande|client|paiement|reservation|url|api|mot de passe)\b"
    )
    return (
        rf"erreurs?{_STOP}|erreur{_CODE}",
        r"erreur (?:interne|inconnue|inattendue|fatale|critique|serveur|systeme|reseau|lors d|pendant|d[eu] (?:connexion|la "
        r"connexion|reseau|serveur|authentification|validation|syntaxe|systeme|base de donnees|lecture|format|traitement))",
        r"une? (?:\w+ )?(?:erreur|probleme)(?: \w+)? (?:s'est produite?|est survenue?|a ete)",
        r"impossible d(?:e |')\w+|echec\b(?=\s*[:.!]|\s*\Z| d[eu']| lors| de )|nous n'avons pas pu|il (?:est|a ete) impossible",
        rf"(?:il )?manque (?:le |la |un |une )?{thing}",
        rf"(?:la |le |l'|votre |cette |ce )?{thing}[^.!?\n]{{0,60}}(?:a echoue|n'(?:a pas|est pas|existe)|est (?:invalide"
        r"|indisponible|introuvable|manquant|requis|obligatoire|inconnu|expire|refuse|rejete)|a (?:ete (?:refuse|rejete)|expire)"
        r"|(?:invalide|introuvable|manquant|inconnu|incorrect)e?s?\b|ne repond pas|ne peut)",
        r"acces (?:refuse|interdit)|non autorise|permission refusee|authentification (?:echouee|requise)",
        r"delai (?:d'attente )?(?:depasse|expire)|service (?:temporairement )?indisponible|limite [^.]{0,30}(?:atteinte|depassee)",
        r"(?:desole|nous sommes desoles)\b.{0,40}(?:n'|ne |erreur|impossible)|quelque chose s'est mal passe",
        rf"{_SHORT}(?:\bintrouvables?|non trouvee?s?|n'existe(?:nt)? pas){_END}",
    )


def _italian() -> tuple[str, ...]:
    thing = (
        r"(?:richiesta|operazione|connessione|ricerca|azione|transazione|sessione|servizio|server|chiamata|file|utente"
        r"|parametro|argomento|campo|valore|token|chiave|account|strumento|funzione|citta|pagina|risorsa|codice|data"
        r"|formato|id|prodotto|ordine|cliente|pagamento|prenotazione|url|api|password)\b"
    )
    return (
        rf"error[ei]{_STOP}|errore{_CODE}",
        r"errore (?:interno|sconosciuto|imprevisto|inatteso|fatale|critico|durante|di (?:connessione|rete|sistema|sintassi"
        r"|autenticazione|validazione|lettura|formato|server)|del (?:server|sistema|database)|nell[ao'] ?\w+\s*[:.])",
        r"si e verificato un(?: \w+)? ?(?:errore|problema)|impossibile \w+(?:re|rsi|rlo|rla)\b|non (?:e|e stato) possibile",
        rf"manca(?:no)? (?:il |la |un |una )?(?:\w+ )?{thing}",
        rf"(?:il |la |l'|lo |i )?{thing}[^.!?\n]{{0,60}}(?:e fallit|ha fallito|fallit[oa]\b|non (?:e |risulta )?(?:valid"
        r"|disponibil|trovat|riconosciut|consentit|supportat|risponde|esist|riuscit|autorizzat)|mancante|obbligatori"
        r"|sconosciut|scadut|rifiutat|negat[oa]\b|errat[oa]\b)",
        r"(?:accesso|permesso) negato|non autorizzat|tempo scaduto|servizio (?:temporaneamente )?non disponibile",
        r"limite [^.]{0,30}(?:superato|raggiunto)|(?:spiacent[ei]|ci dispiace)\b.{0,40}(?:non|errore)|qualcosa e andato storto",
        rf"{_SHORT}\bnon (?:trovat[oaie]|esiste|valid[oaie]){_END}",
    )


def _german() -> tuple[str, ...]:
    thing = (
        r"(?:anfrage|abfrage|vorgang|aktion|verbindung|datei|server|dienst|zugriff|parameter|argument|feld|wert|token"
        r"|schlussel|konto|werkzeug|funktion|stadt|seite|ressource|code|datum|format|id|produkt|bestellung|kunde|zahlung"
        r"|buchung|benutzer|nutzer|sitzung|suche|operation|url|api|aufruf|passwort|ordner|verzeichnis|befehl|anmeldung)\b"
    )
    return (
        rf"(?:(?:interner|unbekannter|unerwarteter|schwerer|kritischer) )?[a-z]{{0,20}}fehler{_STOP}",
        rf"[a-z]{{0,20}}fehler(?:{_CODE}| (?:beim? \w+en\b|bei der \w+|wahrend ))|interner serverfehler",
        r"(?:es ist )?(?:leider )?ein (?:\w+ )?(?:fehler|problem) (?:ist )?aufgetreten|fehler aufgetreten",
        r"(?:leider )?(?:konnte|kann)(?:n|ten|t)? [^.!?\n]{1,80}\bnicht\b",
        rf"(?:die |der |das |ihre? |den )?{thing}[^.!?\n]{{0,60}}(?:ko(?:nnte|nnten) nicht|kann nicht|fehlgeschlagen"
        r"|ist (?:ungultig|abgelaufen|unbekannt|erforderlich|nicht (?:verfugbar|erreichbar|gultig|zulassig|vorhanden"
        r"|erlaubt|autorisiert|definiert))|\bfehlt\b|wurde (?:abgelehnt|verweigert|nicht gefunden)|existiert nicht"
        r"|nicht gefunden|gescheitert|abgelehnt|verweigert|antwortet nicht|ungultig)",
        rf"{_SHORT}(?:fehlgeschlagen|\bnicht gefunden|existiert nicht|ist ungultig){_END}",
        r"ungultige[rsn]? \w+|fehlende[rsn]? (?:\w+ )?(?:parameter|argument|feld|angabe|eingabe|berechtigung|zugriffsrecht)|unbekannte[rsn]? (?:parameter"
        r"|argument|feld|funktion|werkzeug|fehler|befehl)|zugriff verweigert|keine berechtigung|nicht (?:autorisiert|angemeldet)",
        r"zeituberschreitung|(?:der )?dienst (?:ist )?nicht (?:verfugbar|erreichbar)|etwas ist schiefgelaufen",
        r"(?:limit|kontingent)[^.]{0,30}(?:uberschritten|erreicht|erschopft)",
    )


def _russian() -> tuple[str, ...]:
    return (
        rf"(?:(?:внутренняя|неизвестная|критическая|непредвиденная|системная|сетевая|фатальная) )?ошибк[аи]{_STOP}",
        rf"ошибка(?:{_CODE}| (?:при |сервера|сети|подключения|базы данных|запроса|доступа|авторизации|аутентификации"
        r"|проверки|валидации|выполнения|соединения|чтения|записи|загрузки|обработки|синтаксиса|формата))",
        r"(?:внутренняя|неизвестная) ошибка|(?:произошл[аи]|возникл[аи]|случилась) (?:\w+ )?(?:ошибк|сбо|проблем)",
        r"(?:к сожалению, )?не(?: удалось|возможно \w+ть(?:ся)?| получилось \w+ть| могу \w+ть| удается)\b",
        r"недостаточно (?:прав|средств|памяти|аргументов|полномочий|привилегий)|неверн(?:ый|ая|ое|ые|о) \w+|некорректн(?:ый|ая|ое|ые) \w+|недопустим(?:ый|ая|ое|ые) \w+|недействительн\w+ \w+",
        r"(?:неизвестн|неподдерживаем)(?:ый|ая|ое) (?:параметр|аргумент|инструмент|функци|метод|команд|тип|формат|город)",
        r"отсутству(?:ет|ют) (?:обязательн\w+ )?(?:параметр|аргумент|поле|значени|файл|права)|не (?:указан|задан|передан)\w? ",
        r"доступ (?:запрещен|запрещён|закрыт)|отказано в доступе|нет (?:доступа|прав)\b|требуется (?:авторизация|вход)",
        r"(?:сервис|сервер|служба|api)\b[^.\n]{0,30}(?:недоступ|не отвечает)|превышен[оа]? (?:лимит|врем|квот|число|ожидани)"
        r"|истекл[оа] врем|время ожидания|тайм-?аут",
        r"(?:запрос|операци\w|вызов|команда|загрузка|оплата|подключение|авторизация)\b[^.!?\n]{0,30}(?:отклон|не (?:выполн"
        r"|заверш|удал|обработан|прош)|завершил\w+ (?:с )?ошибк|прерван)",
        r"(?:параметр|аргумент|поле|значение|файл|токен|ключ)\b[^.!?\n]{0,60}(?:обязател|отсутств|не (?:указан|найден|задан"
        r"|поддерж|существ|может|распозн|опознан)|недейств|неверн|недопустим|истек|неизвестен)",
        rf"(?!(?:результат|совпадени|ничего|ошиб|проблем)){_SHORT}\bне (?:найден[оаы]?|существует|поддерживается){_END}",
        r"сбой\b(?=\s*:| при| в | сервера| сети| подключения)|что-то пошло не так|(?:пожалуйста, )?(?:повторите|попробуйте) "
        r"(?:попытку |еще раз |снова )?позже",
    )


def _chinese() -> tuple[str, ...]:
    verb = (
        r"(?:请求|操作|查询|调用|执行|获取|连接|连线|登录|登陆|登入|加载|读取|写入|保存|删除|更新|修改|创建|发送|上传|下载"
        r"|解析|验证|认证|授权|搜索|访问|提交|支付|预订|预定|转账|处理|初始化|注册|订阅|安装|编译|启动|运行|导入|导出|翻译"
        r"|计算|网络|服务|任务|接口|工具|函数|参数|校验|打开|添加|绑定|交易)"
    )
    return (
        r"(?:系统|服务器|服务端|网络|参数|请求|内部|未知|数据库|数据|接口|执行|调用|查询|语法|类型|权限|运行时?|连接|登录"
        r"|认证|解析|致命|严重|发生|出现|内部服务器|工具|格式|程序|代码|验证码|密码|用户名或密码|账号或密码){0,3}"
        r"(?:错误|出错|异常|报错|故障)(?:\s*(?:[:。!(\[]|\Z|代码|码|信息|了|,))",
        rf"(?:抱歉|对不起|很抱歉|很遗憾)?,?\s*(?:您的|该|本次|此)?{verb}[^,.。!?:\n]{{0,20}}(?:失败|出错|超时|异常)"
        r"(?:\s*(?:[:,.。!(]|\Z|了))",
        rf"(?:抱歉|对不起|很抱歉)?,?\s*(?:暂时)?(?:无法|不能|未能|没能|不可){verb}",
        r"无法(?:找到|识别|确定|完成|使用|获得|定位|匹配|建立)",
        r"(?:找不到|未找到|没有找到|查无|不存在)(?!.{0,12}(?:结果|记录|匹配|相关|错误|问题))[^,。\n]{1,30}(?:[,。!]|\Z)",
        r"(?:缺少|缺失|未提供|未指定|未传入?|没有提供)[^,。\n]{0,20}(?:参数|字段|值|密钥|令牌|凭证|信息|id)",
        r"(?:未知|无效|非法|不合法|不支持|错误|多余|不正确)的?[^,。\n]{0,6}(?:参数|请求|字段|工具|函数|方法|格式|类型|令牌"
        r"|密钥|日期|城市|命令|输入|地址|用户|url|token|id|json|值|操作|货币|语言)",
        r"(?:参数|字段|必填项?)[^,。\n]{0,30}(?:不能为空|不可为空|错误|缺失|无效|必填|不合法|不正确|不存在|未定义|为空"
        r"|超出|未提供|格式)",
        r"[^,.。!?:\n]{1,20}(?:不存在|未找到|找不到|不能为空|无效|不合法|不正确|格式错误|已过期|已失效|未定义|被拒绝)[\s。!]*\Z",
        r"(?:权限|余额|配额|额度)不足|没有权限|无权限?(?:访问|操作|查看)|未授权|未登录|未认证|未经授权|拒绝访问|禁止访问|访问被拒",
        r"(?:服务器?|系统|接口|网络|服务)[^,。\n]{0,6}(?:不可用|繁忙|维护|无响应|超时|不稳定|断开)|(?:请求|连接|响应|读取)?超时[\s。!,]",
        r"(?:请求|调用|访问)[^,。\n]{0,6}(?:过于频繁|次数|频率)|超(?:出|过)[^,。\n]{0,12}(?:限制|配额|上限|额度|范围)",
        r"[^。\n]{0,30}请稍[后候]?再?(?:重试|试)",
    )


def _japanese() -> tuple[str, ...]:
    done = (
        r"(?:接続|取得|処理|実行|読み込み|読み込む|読み込むこと|読み取り|書き込み|アクセス|認証|検索|解析|保存|送信|作成|更新"
        r"|削除|完了|ロード|ログイン|登録|予約|変換|開くこと|開始|確認|特定|認識|通信|呼び出し|ダウンロード|アップロード"
        r"|すること)(?:が|は|を|する(?:こと)?が)?"
    )
    return (
        r"[^\s、。:]{0,14}エラー(?:\s*(?:[:!。(\[]|\Z|が(?:発生|起き|起こ)|コード|です|になり|により|のため))",
        r"[^。!?\n]{1,50}(?:に失敗しました|に失敗した|失敗です|が失敗しました)",
        r"(?:[^。!?\n]{0,40}[をにがはへ])?" + done + r"できません(?:でした)?",
        r"(?!.{0,20}(?:結果|該当|一致|エラー|問題))[^。!?\n]{1,50}(?:が|は)?(?:見つかりません|見つかりませんでした|存在しません)(?:でした)?"
        r"[\s。!]*\Z",
        r"(?:無効|不正|不明|未知)な[^。\n]{0,12}(?:リクエスト|パラメータ|引数|トークン|キー|値|形式|入力|日付|url|id|ツール|関数"
        r"|コマンド|要求|操作)",
        r"[^。!?\n]{0,30}(?:パラメータ|引数|項目|トークン|キー|値|形式|日付|入力|フィールド|url|id)[^。!?\n]{0,20}(?:無効|不正|必須|不足"
        r"|必要です|指定されていません|正しくありません|期限切れ|間違って|ありません)",
        r"(?:アクセス|要求|リクエスト|接続|ログイン)[^。\n]{0,10}(?:拒否|却下|禁止)|(?:アクセス)?権限がありません|認証が必要",
        r"(?:接続|通信|リクエスト|要求|応答)?(?:が)?タイムアウト(?:しました|です|エラー|[\s。!]*\Z)",
        r"(?:サービス|サーバー?|api|システム)[^。\n]{0,20}(?:利用できません|応答しません|応答していません|停止|メンテナンス|過負荷|ビジー)",
        r"(?:回数|レート|利用|リクエスト)[^。\n]{0,10}(?:制限|上限)[^。\n]{0,6}(?:超え|達し|超過)",
        r"(?:申し訳(?:ありません|ございません)|すみません)[^\n]{0,50}(?:できません|エラー|失敗|見つかりません)|[^。\n]{0,30}もう一度お試し",
    )


def _korean() -> tuple[str, ...]:
    verb = (
        r"(?:처리|연결|접속|실행|완료|저장|접근|로드|확인|수행|인증|호출|검색|조회|전송|생성|삭제|수정|사용|가져올|불러올|찾을"
        r"|읽을|열|보낼|알|해석|로그인|다운로드|업로드)"
    )
    return (
        r"(?:[^\s:.]{1,10} ){0,3}?(?:오류|에러)(?:\s*(?:[:!.(\[]|\Z|가 (?:발생|일어)|입니다|코드|발생|로 인해|때문))",
        r"[^.!?\n]{1,40}?실패(?:했습니다|하였습니다|했어요|함|하여|[\s:.!(]|\Z)",
        r"(?!.{0,20}(?:결과|일치|항목이 없))(?:[^.!?\n]{0,40} )?" + verb + r"(?:할)? 수 없(?:습니다|음|어요|었습니다)",
        r"(?:[^.!?\n]{0,40} )?" + verb + r"(?:하지|하진) 못했습니다",
        r"[^.!?\n]{1,40}?(?:존재하지 않(?:습니다|음)|유효하지 않(?:습니다|음)|올바르지 않습니다|지원되지 않(?:습니다|는)|만료되었습니다"
        r"|정의되지 않(?:았습니다|음))|(?:존재하지|등록되지|유효하지) 않[는은] [^\s.]{1,12}입니다",
        r"(?:잘못된|유효하지 않은|알 수 없는|지원되지 않는|올바르지 않은) [^.\n]{0,12}(?:요청|매개변수|파라미터|인수|값|형식|토큰|키|입력"
        r"|도구|함수|명령|날짜|도시|url|id|api|필드)",
        r"(?:필수 )?(?:[^\s.]{1,20} )?(?:매개변수|파라미터|인수|필드|항목|값)[^.\n]{0,20}(?:누락|필요합니다|필수입니다|없습니다|비어)",
        r"(?:[^\s.]{1,10} )?권한이 (?:없|부족)|(?:접근|액세스|요청|연결|권한)[^.\n]{0,8}(?:거부|거절|차단)|인증[^.\n]{0,10}(?:필요|실패|만료)",
        r"(?:요청|연결|응답|작업)?\s?(?:시간(?:이)? ?초과|타임아웃)|(?:서버|서비스|시스템)[^.\n]{0,20}(?:응답하지|사용할 수 없|점검|과부하|불가)",
        r"(?:한도|제한|횟수|할당량)[^.\n]{0,10}(?:초과|도달)|[^.\n]{0,40}다시 시도|(?:죄송합니다|죄송하지만)[^\n]{0,50}(?:없|오류|실패|못)",
    )


def _hindi() -> tuple[str, ...]:
    return (
        r"(?:[^\s:।]{1,14} ){0,2}?(?:त्रुटि|एरर)(?:\s*(?:[:।!.(\[]|\Z|हुई|हो गई|उत्पन्न|आई|आ गई|कोड|है))",
        r"[^।!?\n]{1,60}?(?:विफल|असफल|फेल)(?: (?:रह[ाी]|हु[आई]|हो ग(?:या|ई)|है|हुआ)|[\s:।.!]|\Z)",
        r"(?!.{0,20}(?:परिणाम|नतीज))[^।!?\n]{1,60}?(?:नहीं मिल[ाीे]|नहीं मिल सक[ाीे]|मौजूद नहीं (?:है|हैं)|उपलब्ध नहीं है|अनुपलब्ध है)"
        r"[\s।.!]*\Z",
        r"(?:अमान्य|गलत|अज्ञात|अवैध) [^।\n]{0,16}(?:पैरामीटर|अनुरोध|मान|प्रारूप|टोकन|कुंजी|इनपुट|तिथि|तारीख|उपकरण|फ़ंक्शन|आईडी|पता|पासवर्ड)",
        r"[^।!?\n]{0,30}(?:पैरामीटर|फ़ील्ड|मान|टोकन|कुंजी)[^।!?\n]{0,30}(?:आवश्यक|अनुपस्थित|अमान्य|गायब|नहीं दिया|नहीं है|समाप्त)",
        r"[^।!?\n]{0,60}(?:नहीं (?:कर सक[ाेी]|किया जा सका|की जा सकी|हो सक[ाी]|जुड़ सक)|करने में असमर्थ|में असमर्थ)",
        r"(?:पहुँच|पहुंच|एक्सेस|अनुमति)[^।\n]{0,12}(?:अस्वीकृत|अस्वीकार|निषेध|वर्जित|नहीं)|अनधिकृत|समय (?:सीमा )?समाप्त",
        r"(?:सर्वर|सेवा|सिस्टम)[^।\n]{0,20}(?:उपलब्ध नहीं|अनुपलब्ध|जवाब नहीं|व्यस्त|बंद)|(?:सीमा|कोटा)[^।\n]{0,12}(?:पार|समाप्त|अधिक)",
        r"कुछ (?:गलत|गड़बड़)|[^।\n]{0,40}(?:पुनः|फिर से|दोबारा) (?:प्रयास|कोशिश) कर|(?:क्षमा|माफ़)[^।\n]{0,20}[^\n]{0,40}(?:नहीं|त्रुटि|विफल)",
    )


def _arabic() -> tuple[str, ...]:
    thing = (
        r"(?:ال)?(?:طلب|اتصال|عملية|خادم|خدمة|ملف|مستخدم|معلمة|معامل|حقل|قيمة|رمز|مفتاح|حساب|اداة|دالة|مدينة|صفحة|مورد|كود"
        r"|تاريخ|تنسيق|صيغة|معرف|منتج|عميل|دفع|حجز|رابط|جلسة|استعلام|بحث|تحميل|تنفيذ|مصادقة|تحقق|معالجة|تسجيل)"
    )
    return (
        r"(?:(?:حدث|حصل|وقع|طرا) )?خطا(?:\s*(?:[:!.،(\[]|\Z)| (?:داخلي|غير|اثناء|فادح|خادم|عند|خلال))",
        r"(?:حدث|حصل|وقع)(?:ت)? (?:خطا|مشكلة|خلل)|خطا في (?:ال)?(?:اتصال|خادم|طلب|شبكة|معالجة|تحقق|نظام|قاعدة|صيغة|تنفيذ|مصادقة)",
        rf"فشل(?:ت)? (?:في |عملية )?{thing}|فشل(?:ت)?(?:\s*[:.!]|\s*\Z)|تعذر(?:ت)?\b",
        r"لا يمكن(?:ني|نا)? |لم (?:نتمكن|اتمكن|يتمكن|تتم|يتم) (?!العثور على (?:اي )?(?:نتائج|اخطاء|مشاكل)|رصد|اكتشاف|تسجيل اي)",
        r"غير (?:قادر|مصرح|مسموح|مخول)|لا (?:توجد|يوجد) (?:صلاحي|اداة|دالة|مستخدم|ملف)\S* ?(?:بهذا|بهذه|باسم|كافي)?",
        rf"(?:ال)?{thing}\S*[^.!؟\n]{{0,40}}(?:غير (?:صالح|موجود|معروف|متاح|صحيح|مدعوم|متوفر|مسموح)|مفقود|مطلوب|فشل|مرفوض|منته"
        r"|لا يستجيب|لا يعمل|رفض)",
        r"[^.!؟:\n]{1,40}?غير (?:صالح|صالحة|موجود|موجودة|معروف|معروفة|صحيح|صحيحة|مدعوم|مدعومة)[\s.!]*\Z",
        r"(?:معلمة|معامل|حقل) (?:مفقود|مطلوب|غير)|(?:تم )?رفض (?:الوصول|الطلب|الاتصال)|الوصول (?:مرفوض|ممنوع)|انتهت (?:ال)?(?:مهلة|صلاحية)",
        r"تم تجاوز (?:الحد|حد|الحصة)|عذرا\b.{0,40}(?:لا|لم|خطا|تعذر)|يرجي المحاولة|حاول مرة اخري",
    )


def _others() -> tuple[str, ...]:
    """Dutch, Polish, Turkish, Vietnamese, Indonesian, Ukrainian, Swedish and Thai, more briefly."""
    return (
        rf"(?:fout|foutmelding|blad|hata|loi|kesalahan|galat|помилка|fel){_STOP}(?=\s*[:!.(])",
        r"er is (?:een )?(?:\w+ )?fout opgetreden|kan (?:\w+ ){1,6}niet \w+en\b|ongeldige? \w+|toegang geweigerd|verzoek mislukt",
        r"wystapil(?:o)? (?:\w+ )?(?:blad|problem)|blad (?:serwera|polaczenia|podczas|wewnetrzny)|nie (?:udalo sie|mozna) \w+"
        r"|nieprawidlow\w+ \w+|brak (?:wymaganego )?(?:parametru|dostepu|uprawnien)|odmowa dostepu",
        r"(?:bir |beklenmeyen )?hata (?:olustu|meydana)|(?:islem|istek|baglanti) basarisiz|gecersiz \w+|erisim reddedildi"
        rf"|{_SHORT}\bbulunamadi{_END}",
        r"(?:da xay ra|co) loi|khong the \w+|(?:yeu cau|ket noi|thao tac) that bai|thieu tham so|tham so khong hop le",
        r"terjadi kesalahan|gagal \w+|tidak dapat \w+|akses ditolak|(?:parameter|permintaan) tidak valid|"
        rf"(?!hasil){_SHORT}\btidak ditemukan{_END}",
        r"(?:сталася|виникла) помилка|не вдалося|неможливо \w+|доступ заборонено|невірн\w+ \w+|помилка (?:сервера|при|під час)",
        r"ett (?:\w+ )?fel (?:har )?(?:intraffa|uppst)|kunde inte|ogiltig\w* \w+|atkomst nekad|begaran misslyckades",
        r"(?:เกิด)?ข้อผิดพลาด|ไม่สามารถ|การเชื่อมต่อล้มเหลว|คำขอล้มเหลว",
    )


BEGINNINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "ar": _arabic(),
    "de": _german(),
    "es": _spanish(),
    "fr": _french(),
    "hi": _hindi(),
    "it": _italian(),
    "ja": _japanese(),
    "ko": _korean(),
    "pt": _portuguese(),
    "ru": _russian(),
    "zh": _chinese(),
    "nl pl tr vi id uk sv th": _others(),
}
