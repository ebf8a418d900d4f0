"""Where values stand: prose, chat, messages, data and code. Each place lays out items, which come marked, and adds what usually
stands around them. Nothing that a place adds is sensitive."""

import html
import json
from dataclasses import dataclass
from urllib.parse import quote

from personal import language


@dataclass(frozen=True)
class Item:
    marked: str  # with what stands around it
    key: str
    label: str
    is_value: bool
    # Whether its name stands beside it.
    named: bool


# Sentences around values. None names a person, a date or a number.
AROUND = {
    "en": (
        "Thanks for getting back to me so quickly.",
        "Could you check this in the system and tell me what is missing?",
        "The customer called twice about it.",
        "I have attached the form as well.",
        "Let me know if anything else is needed.",
        "We could not find the entry in the old database.",
    ),
    "de": (
        "Vielen Dank für die schnelle Antwort.",
        "Könnten Sie das bitte im System prüfen?",
        "Der Kunde hat schon zweimal nachgefragt.",
        "Das Formular liegt bei.",
        "Bitte melden Sie sich, falls etwas fehlt.",
    ),
    "fr": (
        "Merci pour votre réponse rapide.",
        "Pourriez-vous vérifier cela dans le système ?",
        "Le client a rappelé ce matin.",
        "Le formulaire est joint à ce message.",
        "Dites-moi s'il manque quelque chose.",
    ),
    "es": (
        "Gracias por la respuesta tan rápida.",
        "¿Podría comprobarlo en el sistema?",
        "El cliente ha llamado dos veces.",
        "Adjunto también el formulario.",
    ),
    "it": (
        "Grazie per la risposta veloce.",
        "Può controllare nel sistema?",
        "Il cliente ha chiamato due volte.",
        "Allego anche il modulo.",
    ),
    "pt": (
        "Obrigado pela resposta rápida.",
        "Pode verificar isto no sistema?",
        "O cliente ligou duas vezes.",
        "Segue o formulário em anexo.",
    ),
    "nl": (
        "Bedankt voor het snelle antwoord.",
        "Kunt u dit in het systeem nakijken?",
        "De klant heeft al twee keer gebeld.",
        "Het formulier zit in de bijlage.",
    ),
    "pl": (
        "Dziękuję za szybką odpowiedź.",
        "Czy można to sprawdzić w systemie?",
        "Klient dzwonił już dwa razy.",
        "Formularz jest w załączniku.",
    ),
    "sv": (
        "Tack för det snabba svaret.",
        "Kan ni kontrollera detta i systemet?",
        "Kunden har ringt två gånger.",
        "Blanketten är bifogad.",
    ),
    "fi": (
        "Kiitos nopeasta vastauksesta.",
        "Voisitteko tarkistaa tämän järjestelmästä?",
        "Asiakas on soittanut jo kaksi kertaa.",
        "Lomake on liitteenä.",
    ),
    "da": (
        "Tak for det hurtige svar.",
        "Kan I kontrollere det i systemet?",
        "Kunden har ringet to gange.",
        "Formularen er vedhæftet.",
    ),
    "nb": (
        "Takk for det raske svaret.",
        "Kan dere sjekke dette i systemet?",
        "Kunden har ringt to ganger.",
        "Skjemaet er vedlagt.",
    ),
    "ja": (
        "早速のご返信ありがとうございます。",
        "システムで確認していただけますか。",
        "お客様から二度お電話がありました。",
        "書類も添付しました。",
    ),
    "ko": ("빠른 답변 감사합니다.", "시스템에서 확인해 주시겠어요?", "고객이 두 번 전화했습니다.", "양식도 첨부했습니다."),
    "zh": ("感谢您的快速回复。", "请在系统中核对一下。", "客户已经打过两次电话。", "表格也在附件里。"),
    "tr": (
        "Hızlı yanıtınız için teşekkürler.",
        "Bunu sistemde kontrol edebilir misiniz?",
        "Müşteri iki kez aradı.",
        "Form da ektedir.",
    ),
    "ru": ("Спасибо за быстрый ответ.", "Проверьте, пожалуйста, в системе.", "Клиент звонил уже дважды.", "Форма во вложении."),
}
# How a sentence brings a value with its name, and without.
NAMED = {
    "en": (
        "{label}: {item}.",
        "My {label} is {item}, please confirm.",
        "The {label} {item} is on file.",
        "Use {label} {item} for this.",
    ),
    "de": ("{label}: {item}.", "Angaben: {label} {item}.", "{label} lautet {item}, bitte bestätigen."),
    "fr": ("{label} : {item}.", "Voici : {label} {item}."),
    "es": ("{label}: {item}.", "Datos: {label} {item}."),
    "ja": ("{label}：{item}", "{label}は{item}です。"),
    "zh": ("{label}：{item}。", "{label}是{item}。"),
    "ko": ("{label}: {item}", "{label} {item} 입니다."),
}
UNNAMED = {
    "en": ("Please look at {item} first.", "It says {item} there.", "{item} was in the note.", "Here you go: {item}"),
    "de": ("Bitte zuerst {item} prüfen.", "Dort steht {item}."),
    "fr": ("Il est écrit {item} dans la note.", "Regardez d'abord {item}."),
    "es": ("Aquí pone {item}.", "Mire primero {item}."),
    "ja": ("メモには{item}とあります。",),
    "zh": ("备注里写着{item}。",),
    "ko": ("메모에 {item} 라고 되어 있습니다.",),
}


def around(rng, locale):
    return rng.choice(AROUND.get(language(locale), AROUND["en"]))


def sentence(rng, locale, item):
    tongue = language(locale)
    shapes = NAMED if item.named else UNNAMED
    plain = ("{label}: {item}.",) if item.named else ("{item}.",)
    return rng.choice(shapes.get(tongue, plain)).format(label=item.label, item=item.marked)


def prose(rng, locale, items):
    parts = [around(rng, locale)]
    for item in items:
        parts += [sentence(rng, locale, item)] + ([around(rng, locale)] if rng.random() < 0.6 else [])
    return ("" if language(locale) in ("ja", "zh") else " ").join(parts)


def chat(rng, locale, items):
    lines = [f"user: {around(rng, locale)}"]
    for item in items:
        lines.append(f"user: {item.label.lower()} {item.marked}" if item.named else f"user: {item.marked}")
        lines.append(f"assistant: {around(rng, locale)}")
    return "\n".join(lines)


def mail(rng, locale, items):
    lines = [around(rng, locale), ""] + [f"{item.label}: {item.marked}" if item.named else f"> {item.marked}" for item in items]
    return "Subject: request\n\n" + "\n".join(lines) + "\n\n-- \nsent from my phone"


def record(rng, items):
    """As an object; an item that has no name of its own hangs on one that says nothing."""
    record = {"status": rng.choice(("open", "done", "failed")), "attempts": rng.randint(1, 9)}
    for item in items:
        key = item.key if item.named else rng.choice(("value", "data", "note", "result"))
        while key in record:
            key += "_2"
        record[key] = item.marked
    return record


def as_json(rng, _locale, items):
    return json.dumps(record(rng, items), ensure_ascii=False, indent=rng.choice((None, 2)))


def nested_json(rng, _locale, items):
    whole = {"type": "tool_result", "ok": True, "content": [{"page": 1, "entries": [record(rng, items)]}]}
    return json.dumps(whole, ensure_ascii=False)


def escaped_json(rng, _locale, items):
    arguments = json.dumps(record(rng, items), ensure_ascii=False)
    return json.dumps(
        {"id": "call_1", "type": "function", "function": {"name": "update_customer", "arguments": arguments}}, ensure_ascii=False
    )


def yaml(rng, _locale, items):
    lines = ["customer:", "  active: true"]
    for item in items:
        key = item.key if item.named else "note"
        if "\n" in item.marked:
            lines += [f"  {key}: |"] + ["    " + line for line in item.marked.split("\n")]
        else:
            lines.append(
                f"  {key}: "
                + (
                    json.dumps(item.marked, ensure_ascii=False)
                    if rng.random() < 0.5 or item.marked[:1] in "&*{[<@#"
                    else item.marked
                )
            )
    return "\n".join(lines)


def env(rng, _locale, items):
    lines = ["# settings", "DEBUG=false"]
    for item in items:
        name = (item.key if item.named else "VALUE").upper().replace("-", "_")
        lines.append(f"{name}=" + (f'"{item.marked}"' if rng.random() < 0.6 or " " in item.marked else item.marked))
    return "\n".join(lines)


def code(before, shape, after, join="\n"):
    def lay_out(rng, _locale, items):
        lines = [
            shape.format(key=item.key if item.named else "value", item=json.dumps(item.marked, ensure_ascii=False))
            for item in items
        ]
        return before + join.join(lines) + after

    return lay_out


python = code("import client\n\n\ndef main():\n", "    {key} = {item}", "\n    return client.send(retries=3)\n")
javascript = code("const client = require('./client');\n", "const {key} = {item};", "\nmodule.exports = { client };\n")
go = code("package main\n\nvar config = map[string]string{{\n".replace("{{", "{"), '\t"{key}": {item},', "\n}\n")


def log(rng, _locale, items):
    lines = []
    for item in items:
        name = f"{item.key}=" if item.named else "got "
        lines.append(
            f"{rng.choice(('INFO', 'WARN', 'DEBUG'))} [worker-{rng.randint(1, 8)}] request handled {name}{item.marked} status=200"
        )
    return "\n".join(lines)


def quoted(text):
    """Percent-encoded, but for the marks, and for what is encoded already."""
    return "".join(c if 0xE100 <= ord(c) < 0xE400 else quote(c, safe="-_.~%") for c in text)


def url(_rng, _locale, items):
    fields = [f"{item.key if item.named else 'q'}={quoted(item.marked)}" for item in items]
    return f"GET https://api.example.com/v1/customers?{'&'.join(fields)}&page=2"


def columns(items):
    return [item.key if item.named else "note" for item in items]


def csv(rng, _locale, items):
    cell = lambda text: '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text
    return ",".join(["id", *columns(items), "active"]) + "\n" + ",".join(["17", *(cell(item.marked) for item in items), "yes"])


def wide_table(rng, _locale, items):
    row = lambda cells: "| " + " | ".join(cells) + " |"
    return "\n".join(
        (
            row(columns(items) + ["ok"]),
            row(["---"] * (len(items) + 1)),
            row([item.marked.replace("|", "\\|") for item in items] + ["yes"]),
        )
    )


def long_table(rng, _locale, items):
    rows = [f"| {item.label if item.named else 'Value'} | {item.marked} |" for item in items]
    return "\n".join(["| Field | Value |", "|---|---|", *rows])


def page(rng, _locale, items):
    cells = "".join(
        f"<dt>{html.escape(item.label if item.named else 'Value')}</dt><dd>{html.escape(item.marked, quote=False)}</dd>"
        for item in items
    )
    return f'<section class="card"><h2>Details</h2><dl>{cells}</dl></section>'


def xml(rng, _locale, items):
    fields = "".join(
        f"<{key}>{html.escape(item.marked, quote=False)}</{key}>"
        for item in items
        for key in [item.key if item.named else "value"]
    )
    return f'<?xml version="1.0"?><request>{fields}</request>'


def literal(item):
    return "'" + item.marked.replace("'", "''") + "'"


def query(_rng, _locale, items):
    conditions = " AND ".join(f"{item.key if item.named else 'note'} = {literal(item)}" for item in items)
    return f"SELECT * FROM customers WHERE {conditions} LIMIT 10;"


def insert(_rng, _locale, items):
    return f"INSERT INTO customers (id, {', '.join(columns(items))}) VALUES (17, {', '.join(map(literal, items))});"


PLACES = {
    "prose": prose,
    "chat": chat,
    "email": mail,
    "json": as_json,
    "nested json": nested_json,
    "escaped json": escaped_json,
    "yaml": yaml,
    "env": env,
    "python": python,
    "javascript": javascript,
    "go": go,
    "log": log,
    "url": url,
    "csv": csv,
    "wide table": wide_table,
    "long table": long_table,
    "html": page,
    "xml": xml,
    "sql query": query,
    "sql insert": insert,
}
# Prose is most of what agents read.
WEIGHTS = {"prose": 4, "chat": 2, "json": 2, "escaped json": 2}
# A value of several lines has no place in these.
ONE_LINE = ("chat", "log", "url", "csv", "wide table", "long table", "sql query", "sql insert", "env", "email")
# Here a value's name stands in a head that is not beside it.
FAR = ("csv", "wide table", "sql insert")
