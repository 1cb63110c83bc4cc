"""How statements of failure begin in languages of Europe.

The conventions are those of `sentences.py`.
"""

from __future__ import annotations

from .sentence_parts import CODE, END, SHORT, STOP


def spanish() -> tuple[str, ...]:
    """Return how statements of failure begin in Spanish."""
    thing = (
        r"(?:solicitud|peticion|operacion|consulta|conexion|llamada|busqueda|accion|transaccion|sesion|servicio"
        r"|servidor"
        r"|archivo|fichero|usuario|credencial(?:es)?|permisos?|contrasena|parametro|argumento|campo|valor|token"
        r"|clave|cuenta|herramienta|funcion|ciudad|pagina"
        r"|recurso|codigo|fecha|formato|id|producto|pedido|cliente|pago|reserva|ruta|url|api)\b"
    )
    return (
        rf"(?:error(?:es)?|excepcion){STOP}|error{CODE}",
        r"error (?:interno|desconocido|inesperado|fatal|grave|critico|del? (?:conexion|red|servidor"
        r"|autenticacion|sistema"
        r"|validacion|sintaxis|base de datos|lectura|formato|tiempo)|al \w+r\b|(?:durante|en) (?:la|el) \w+)",
        r"(?:se )?(?:ha |han )?(?:ocurrio|ocurrido|produjo|producido|hubo|habido) (?:un "
        r"|algun )?(?:\w+ )?(?:error|problema"
        r"|fallo)",
        r"fall[oa](?:\b(?= (?:al|en|de|del) )|\s*:)",
        r"no (?:se )?(?:ha |han )?(?:pudo|pudieron|puede|pueden|podido|pudimos|podemos)\b",
        r"no (?:fue|ha sido|es) posible|imposible \w+r\b|(?:no )?autorizacion (?:fallida|requerida)",
        r"no (?:se )?(?:ha )?(?:encontro|encontrado|existe) (?:el|la|ningun|ninguna|un|una) "
        r"(?!.{0,12}(?:resultado|coincidencia|registro|error|problema))",
        rf"falta(?:n)? (?:el |la |los |un |algun )?(?:\w+ )?{thing}",
        rf"(?:el |la |su |tu )?{thing}[^.!?\n]{{0,60}}(?:\bfallo\b|\bha fallado\b|no (?:es |son "
        rf"|esta )?(?:actualmente |temporalmente )?(?:valid|disponible"
        r"|encontrad|reconocid|permitid|soportad|responde|existe)|invalid[oa]s?\b|es (?:obligatori|requerid"
        r"|desconocid)"
        r"|\bfalta\b|ausente|caducad|expirad|fallid[oa]|rechazad[oa]|denegad[oa]|incorrect[oa]|desconocid[oa])",
        r"(?:acceso|permiso) denegado|no (?:esta |tiene )?(?:autorizad|permiso|acceso)",
        r"tiempo de espera (?:agotado|excedido)|se agoto el tiempo|servicio (?:temporalmente )?no disponible",
        r"limite (?:de [^.]{1,40})?(?:excedid|superad|alcanzad)|(?:se )?(?:ha )?(?:superado|excedido|supero"
        r"|excedio) el limite",
        r"lo sent(?:imos|o)\b.{0,40}(?:no|error)|algo salio mal|algo ha ido mal|intentelo (?:de nuevo )?mas tarde",
        rf"{SHORT}\bno (?:encontrad[oa]s?|existe|valid[oa]s?|tiene (?:permisos?|acceso|autorizacion)\b.*){END}",
        r"(?:memoria|saldo|fondos|permisos|privilegios|espacio)\b.{0,20}insuficiente|operacion no permitida"
        r"|no se permiten?\b",
    )


def portuguese() -> tuple[str, ...]:
    """Return how statements of failure begin in Portuguese."""
    thing = (
        r"(?:solicitacao|requisicao|pedido|operacao|consulta|conexao|ligacao|chamada|busca|acao|transacao"
        r"|sessao|servico"
        r"|servidor|arquivo|ficheiro|usuario|credencia(?:l|is)|permissao|utilizador|parametro|argumento|campo"
        r"|valor|token|chave|conta|ferramenta"
        r"|funcao|cidade|pagina|recurso|codigo|data|formato|id|produto|cliente|pagamento|reserva|url|api|senha)\b"
    )
    return (
        rf"(?:erros?|excecao){STOP}|erro{CODE}",
        r"erro (?:interno|desconhecido|inesperado|fatal|grave|critico|d[eo] (?:conexao|rede|servidor"
        r"|autenticacao|sistema"
        r"|validacao|sintaxe|banco de dados|leitura|formato)|ao \w+r\b|(?:durante|n[ao]) (?:a |o )?\w+\s*[:.])",
        r"(?:ocorreu|aconteceu|houve) (?:um |algum )?(?:\w+ )?(?:erro|problema|falha)",
        r"falh(?:a|ou)\b(?=\s*:| (?:ao|na|no) | d[eoa] (?:conexao|rede|autenticacao|sistema|servidor|leitura"
        r"|comunicacao))|nao (?:foi|e|era) possivel|nao (?:pode|conseguimos"
        r"|consegui)\b",
        rf"falta(?:m|ndo)? (?:o |a |um |uma )?(?:\w+ )?{thing}|impossivel \w+r\b",
        rf"(?:o |a |seu |sua )?{thing}[^.!?\n]{{0,60}}(?:\bfalhou|nao (?:e |esta |foi |pode )?(?:atualmente "
        rf"|mais )?(?:valid"
        rf"|disponivel|encontrad"
        r"|reconhecid|permitid|suportad|responde|existe|ser )|(?:esta )?(?:atualmente |temporariamente )?indisponivel"
        r"|invalid[oa]s?\b|e (?:obrigatori|desconhecid)"
        r"|ausente|faltando"
        r"|expirad|expirou|rejeitad|negad[oa]|desconhecid[oa]|recusad[oa]|incorret[oa])",
        r"(?:acesso|permissao) negad[oa]|nao autorizad|sem permissao|(?:tempo|limite)[^.]{0,30}(?:esgotado"
        r"|excedido|atingido)",
        r"servico (?:temporariamente )?indisponivel|(?:desculpe|lamentamos)\b.{0,40}(?:nao|erro)|algo (?:deu"
        r"|correu) (?:errad|mal)",
        rf"{SHORT}\bnao (?:encontrad[oa]s?|existe|valid[oa]s?|tem (?:permissao|acesso)\b.*){END}",
        r"(?:memoria|saldo|permiss\w+|privilegios|espaco|fundos)\b.{0,20}insuficiente|operacao nao permitida",
    )


def french() -> tuple[str, ...]:
    """Return how statements of failure begin in French."""
    thing = (
        r"(?:requete|demande|operation|connexion|recherche|action|transaction|session|service|serveur|appel|fichier"
        r"|utilisateur|parametre|argument|champ|valeur|jeton|cle|compte|outil|fonction|ville|page|ressource"
        r"|code|date"
        r"|format|identifiant|produit|commande|client|paiement|reservation|url|api|mot de passe)\b"
    )
    return (
        rf"erreurs?{STOP}|erreur{CODE}|exception{STOP}",
        r"erreur (?:interne|inconnue|inattendue|fatale|critique|serveur|systeme|reseau|lors d|pendant"
        r"|d[eu] (?:connexion|la "
        r"connexion|reseau|serveur|authentification|validation|syntaxe|systeme|base de donnees|lecture|format"
        r"|traitement))",
        r"une? (?:\w+ )?(?:erreur|probleme|exception)(?: \w+)? (?:s'est produite?|est survenue?|a ete)",
        r"impossible d(?:e |')\w+|echec\b(?=\s*[:.!]|\s*\Z| d[eu']| lors| de )|nous n'avons pas pu|il (?:est"
        r"|a ete) impossible",
        rf"(?:il )?manque (?:le |la |un |une )?{thing}",
        rf"(?:la |le |l'|votre |cette |ce )?{thing}[^.!?\n]{{0,60}}(?:a echoue|n'(?:a pas|est pas|existe)"
        rf"|est (?:(?:actuellement|temporairement|momentanement|deja) )?(?:invalide"
        r"|indisponible|introuvable|manquant|requis|obligatoire|inconnu|expire|refuse|rejete)"
        r"|a (?:ete (?:refuse|rejete)|expire)"
        r"|(?:invalide|introuvable|manquant|inconnu|incorrect|refuse|rejete)e?s?\b|ne repond pas|ne peut)",
        r"acces (?:refuse|interdit)|non autorise|permission refusee|authentification (?:echouee|requise)",
        r"delai (?:d'attente )?(?:depasse|expire)|service (?:temporairement )?indisponible"
        r"|limite [^.]{0,30}(?:atteinte|depassee)",
        r"(?:desole|nous sommes desoles)\b.{0,40}(?:n'|ne |erreur|impossible)|quelque chose s'est mal passe",
        rf"{SHORT}(?:n'est|ne sont) pas (?:autorise|supporte|pris en charge|prise|valide|permis"
        rf"|reconnu)[^.!?\n]{{0,60}}{END}",
        r"(?:memoire|solde|permissions?|droits|privileges)\b.{0,20}insuffisant|operation non (?:permise|autorisee)",
        rf"{SHORT}(?:\bintrouvables?|non trouvee?s?|n'existe(?:nt)? pas){END}",
        rf"(?:connexion|lecture|ecriture|operation|acces|chargement|ouverture"
        rf"|envoi) [^.!?\n]{{0,40}}\bimpossible{END}|connexion impossible",
    )


def italian() -> tuple[str, ...]:
    """Return how statements of failure begin in Italian."""
    thing = (
        r"(?:richiesta|operazione|connessione|ricerca|azione|transazione|sessione|servizio|server|chiamata|file"
        r"|utente"
        r"|parametro|argomento|campo|valore|token|chiave|account|strumento|funzione|citta|pagina|risorsa|codice|data"
        r"|formato|id|prodotto|ordine|cliente|pagamento|prenotazione|url|api|password)\b"
    )
    return (
        rf"(?:error[ei]|eccezione){STOP}|errore{CODE}",
        r"errore (?:interno|sconosciuto|imprevisto|inatteso|fatale|critico|durante|di (?:connessione|rete"
        r"|sistema|sintassi"
        r"|autenticazione|validazione|lettura|formato|server)|del (?:server|sistema|database)"
        r"|nell[ao'] ?\w+\s*[:.])",
        r"si e verificato un(?: \w+)? ?(?:errore|problema)|impossibile \w+(?:re|rsi|rlo|rla)\b|non (?:e"
        r"|e stato) possibile",
        rf"manca(?:no)? (?:il |la |un |una )?(?:\w+ )?{thing}",
        rf"(?:il |la |l'|lo |i )?{thing}[^.!?\n]{{0,60}}(?:e fallit|ha fallito|fallit[oa]\b|non (?:e stat[oa] |e "
        rf"|risulta )?(?:(?:al momento|attualmente|temporaneamente|piu) )?(?:valid"
        r"|disponibil|trovat|riconosciut|consentit|supportat|risponde|esist|riuscit|autorizzat)|mancante|obbligatori"
        r"|sconosciut|scadut|rifiutat|negat[oa]\b|errat[oa]\b)",
        r"(?:accesso|permesso) negato|non autorizzat|tempo scaduto|servizio (?:temporaneamente )?non disponibile",
        r"limite [^.]{0,30}(?:superato|raggiunto)|(?:spiacent[ei]|ci dispiace)\b.{0,40}(?:non|errore)"
        r"|qualcosa e andato storto",
        rf"{SHORT}(?:\bnon (?:trovat[oaie]|esiste|valid[oaie]|riuscit[oaie]|consentit[oaie])|\bfallit[oaie]){END}",
        r"(?:memoria|saldo|permessi|privilegi|spazio|fondi)\b.{0,20}insufficient|operazione non (?:permessa"
        r"|consentita)",
    )


def german() -> tuple[str, ...]:
    """Return how statements of failure begin in German."""
    thing = (
        r"(?:anfrage|abfrage|vorgang|aktion|verbindung|datei|server|dienst|zugriff|parameter|argument|feld|wert"
        r"|token"
        r"|schlussel|konto|werkzeug|funktion|stadt|seite|ressource|code|datum|format|id|produkt|bestellung"
        r"|kunde|zahlung"
        r"|buchung|benutzer|nutzer|sitzung|suche|operation|url|api|aufruf|passwort|ordner|verzeichnis|befehl"
        r"|anmeldung)\b"
    )
    return (
        rf"(?:(?:interner|unbekannter|unerwarteter|schwerer|kritischer) )?[a-z]{{0,20}}fehler{STOP}",
        rf"[a-z]{{0,20}}fehler(?:{CODE}| (?:beim? \w+en\b|bei der \w+|wahrend |in zeile ))|ausnahme:"
        rf"|keine verbindung (?:zu|mit|moglich)|interner serverfehler",
        r"(?:es ist )?(?:leider )?ein (?:\w+ )?(?:fehler|problem) (?:ist )?aufgetreten|fehler aufgetreten",
        r"(?:leider )?(?:konnte|kann)(?:n|ten|t)? [^.!?\n]{1,80}\bnicht\b",
        rf"(?:die |der |das |ihre? |den )?{thing}[^.!?\n]{{0,60}}(?:ko(?:nnte|nnten) nicht|kann nicht|fehlgeschlagen"
        r"|ist (?:(?:derzeit|zurzeit|momentan|aktuell|gerade|leider|vorubergehend) )?"
        r"(?:ungultig|abgelaufen|unbekannt|erforderlich|nicht (?:verfugbar|erreichbar|gultig|zulassig|vorhanden"
        r"|erlaubt|autorisiert|definiert))|\bfehlt\b|wurde (?:abgelehnt|verweigert|nicht gefunden)|existiert nicht"
        r"|nicht gefunden|gescheitert|abgelehnt|verweigert|antwortet nicht|ungultig)",
        rf"{SHORT}(?:fehlgeschlagen|\bnicht (?:gefunden|erlaubt|unterstutzt|gestattet|gultig)|existiert nicht"
        rf"|ist ungultig){END}",
        rf"{SHORT}\bkonnten? nicht [^.!?\n]{{0,60}}\bwerden\b|(?:nicht genug|zu wenig"
        rf"|unzureichende[rsn]?|fehlende) (?:speicher|rechte"
        r"|guthaben|berechtigung)",
        r"ungultige[rsn]? \w+|fehlende[rsn]? (?:\w+ )?(?:parameter|argument|feld|angabe|eingabe|berechtigung"
        r"|zugriffsrecht)|unbekannte[rsn]? (?:parameter"
        r"|argument|feld|funktion|werkzeug|fehler|befehl)|zugriff verweigert|keine berechtigung"
        r"|nicht (?:autorisiert|angemeldet)",
        r"zeituberschreitung|(?:der )?dienst (?:ist )?nicht (?:verfugbar|erreichbar)|etwas ist schiefgelaufen",
        r"[a-z]*(?:limit|kontingent)[^.]{0,30}(?:uberschritten|erreicht|erschopft)",
    )


def russian() -> tuple[str, ...]:
    """Return how statements of failure begin in Russian."""
    return (
        rf"(?:(?:внутренняя|неизвестная|критическая|непредвиденная|системная|сетевая|фатальная) )?ошибк[аи]{STOP}",
        rf"ошибка(?:{CODE}| (?:при |сервера|сети|подключения|базы данных|запроса|доступа|авторизации|аутентификации"
        r"|проверки|валидации|выполнения|соединения|чтения|записи|загрузки|обработки|синтаксиса|формата))",
        r"(?:внутренняя|неизвестная) ошибка|(?:произошл[аи]|возникл[аи]|случилась) (?:\w+ )?(?:ошибк|сбо|проблем)",
        r"(?:к сожалению, )?не(?: удалось|возможно \w+ть(?:ся)?| получилось \w+ть| могу \w+ть| удается)\b",
        r"недостаточно (?:прав|средств|памяти|аргументов|полномочий|привилегий)|неверн(?:ый|ая|ое|ые|о) \w+"
        r"|некорректн(?:ый|ая|ое|ые) \w+|недопустим(?:ый|ая|ое|ые) \w+|недействительн\w+ \w+",
        r"(?:неизвестн|неподдерживаем)(?:ый|ая|ое) (?:параметр|аргумент|инструмент|функци|метод|команд|тип"
        r"|формат|город)",
        r"отсутству(?:ет|ют) (?:обязательн\w+ )?(?:параметр|аргумент|поле|значени|файл|права)|не (?:указан"
        r"|задан|передан)\w? ",
        r"доступ (?:запрещен|запрещён|закрыт)|отказано в доступе|нет (?:доступа|прав)\b"
        r"|требуется (?:авторизация|вход)",
        r"(?:сервис|сервер|служба|api)\b[^.\n]{0,30}(?:недоступ|не отвечает)|превышен[оа]? (?:лимит|врем|квот"
        r"|число|ожидани)"
        r"|истекл[оа] врем|время (?:ожидания|сеанса|сессии) истек|тайм-?аут|исключение:|(?:соединение"
        r"|подключение) (?:отклонен|разорван|прерван|не )",
        r"(?:запрос|операци\w|вызов|команда|загрузка|оплата|подключение|авторизация)\b[^.!?\n]{0,30}(?:отклон"
        r"|не (?:выполн"
        r"|заверш|удал|обработан|прош)|завершил\w+ (?:с )?ошибк|прерван)",
        r"(?:параметр|аргумент|поле|значение|файл|токен|ключ)\b[^.!?\n]{0,60}(?:обязател|отсутств|не (?:указан"
        r"|найден|задан"
        r"|поддерж|существ|может|распозн|опознан)|недейств|неверн|недопустим|истек|неизвестен)",
        rf"(?!(?:результат|совпадени|ничего|ошиб|проблем)){SHORT}\bне (?:найден[оа]?|существует"
        rf"|поддерживается|удалось"
        rf"|разрешен[оаы]?){END}|неправильн(?:ый|ая|ое|ые|о) \w+|синтаксическая ошибка",
        r"сбой\b(?=\s*:| при| в | сервера| сети| подключения)|что-то пошло не так|(?:пожалуйста, )?(?:повторите"
        r"|попробуйте) "
        r"(?:попытку |еще раз |снова )?позже",
    )
