"""What tells of a person, and of their money: contacts, places, accounts, health."""

import hashlib
import ipaddress
import string

import checks
from kinds import CONTEXTUAL, EVERYWHERE, Value, cut, digits, kind, of, until
from national import UPPER, born

HEX = "0123456789abcdef"

FIRST = {
    "en": "Alice Benjamin Charlotte Daniel Emily George Hannah Jack Olivia Thomas",
    "de": "Anna Bernd Claudia Dieter Franziska Jürgen Katrin Lukas Sabine Wolfgang",
    "fr": "Amélie Benoît Camille Éric Jeanne Julien Léa Mathieu Océane Pierre",
    "es": "Alejandro Beatriz Carmen Diego Elena Javier Lucía Miguel Sofía Tomás",
    "it": "Alessandro Bianca Chiara Davide Francesca Giulia Lorenzo Marco Silvia Paolo",
    "pt": "Ana Bruno Carla Eduardo Fernanda Gustavo Juliana Marcelo Rafael Tatiana",
    "nl": "Anouk Bram Daan Femke Hendrik Lotte Maarten Sanne Thijs Willem",
    "pl": "Agnieszka Bartosz Dorota Grzegorz Katarzyna Marek Paweł Tomasz Wojciech Zofia",
    "sv": "Anders Birgitta Erik Gustav Ingrid Johan Karin Linnéa Sven Åsa",
    "fi": "Aino Eero Heikki Jukka Kaisa Mikko Päivi Sanna Timo Väinö",
    "da": "Anne Bent Freja Jens Kirsten Lars Mette Niels Søren Ulla",
    "nb": "Astrid Bjørn Eirik Guro Håkon Ingrid Kari Magnus Ola Solveig",
    "ja": "太郎 花子 健一 美咲 翔太 由美",
    "ko": "민수 지영 서연 현우 지훈 수진",
    "zh": "小明 丽华 建国 秀英 志强 雪梅",
    "tr": "Ahmet Ayşe Emre Fatma Mehmet Zeynep",
    "ru": "Иван Ольга Дмитрий Анна Сергей Екатерина",
}
LAST = {
    "en": "Anderson Bennett Clarke Dawson Edwards Fletcher Harrison Mitchell Thompson Whitfield",
    "de": "Schmidt Fischer Weber Hoffmann Krüger Lehmann Schröder Vogel Zimmermann Böhm",
    "fr": "Dubois Lefèvre Moreau Girard Bonnet Rousseau Faure Mercier Garnier Chevalier",
    "es": "García Fernández Rodríguez Sánchez Ramírez Torres Navarro Domínguez Vázquez Ortega",
    "it": "Rossi Ferrari Bianchi Colombo Ricci Marino Greco Conti Galli Rinaldi",
    "pt": "Silva Santos Oliveira Pereira Carvalho Almeida Ribeiro Barbosa Cardoso Teixeira",
    "nl": "de Vries|van Dijk|Bakker|Visser|Smit|Meijer|Mulder|Bos|Vos|Peters",
    "pl": "Kowalski Nowak Wiśniewski Wójcik Kamiński Lewandowski Zieliński Szymański Woźniak Dąbrowski",
    "sv": "Andersson Johansson Karlsson Nilsson Eriksson Larsson Olsson Persson Svensson Lindqvist",
    "fi": "Korhonen Virtanen Mäkinen Nieminen Mäkelä Hämäläinen Laine Heikkinen Koskinen Järvinen",
    "da": "Jensen Nielsen Hansen Pedersen Andersen Christensen Sørensen Rasmussen Jørgensen Madsen",
    "nb": "Hansen Johansen Olsen Larsen Andersen Pedersen Nilsen Kristiansen Berg Haugen",
    "ja": "田中 佐藤 鈴木 高橋 渡辺 山本",
    "ko": "김 이 박 최 정 강",
    "zh": "王 李 张 刘 陈 杨",
    "tr": "Yılmaz Kaya Demir Çelik Şahin Öztürk",
    "ru": "Иванова Петров Смирнов Кузнецова Попов Соколова",
}


def words(text):
    return text.split("|") if "|" in text else text.split()


def language(locale):
    return locale.split("-")[0]


@kind("PERSON", EVERYWHERE, "full_name patient_name customer_name name", group=CONTEXTUAL, also="NAME PERSON_NAME",
      en="Name|Patient name|Customer name", de="Name|Patient", fr="Nom|Nom du patient", es="Nombre|Nombre completo", it="Nome|Paziente",
      pt="Nome|Nome completo", nl="Naam", pl="Imię i nazwisko", sv="Namn", fi="Nimi", da="Navn", nb="Navn", ja="氏名", ko="성명", zh="姓名",
      tr="Ad soyad", ru="ФИО")
def person(rng, locale):
    tongue = language(locale)
    first, last = rng.choice(words(FIRST[tongue])), rng.choice(words(LAST[tongue]))
    if tongue in ("ja", "ko", "zh"):
        return Value((last + (" " if tongue == "ja" else "") + first,))
    return Value((f"{first} {last}",))


PLACES = {
    "en-US": ("{n} {s}, {c}, {z}", "Maple Street|Oak Avenue|Lincoln Blvd|Sunset Drive", "Springfield, IL|Austin, TX|Portland, OR", "5d"),
    "en-GB": ("{n} {s}, {c} {z}", "Church Road|Station Street|High Street|Victoria Avenue", "Bristol|Leeds|Norwich", "gb"),
    "de-DE": ("{s} {n}, {z} {c}", "Hauptstraße|Goetheweg|Lindenallee|Bahnhofstr.", "Berlin|Köln|München", "5d"),
    "fr-FR": ("{n} {s}, {z} {c}", "rue de la Paix|avenue Victor Hugo|boulevard Voltaire|place Bellecour", "Paris|Lyon|Nantes", "5d"),
    "es-ES": ("{s} {n}, {z} {c}", "Calle Mayor|Avenida de América|Plaza de España|Paseo del Prado", "Madrid|Sevilla|Zaragoza", "5d"),
}


@kind("POSTAL_ADDRESS", tuple(PLACES), "address street_address shipping_address", group=CONTEXTUAL, also="ADDRESS LOCATION STREET_ADDRESS",
      en="Address|Shipping address|lives at", de="Adresse|Anschrift", fr="Adresse", es="Dirección|Domicilio")
def postal_address(rng, locale):
    shape, streets, cities, code = PLACES[locale]
    zip_code = digits(rng, 5, "12345678") if code == "5d" else f"BS{rng.randint(1, 16)} {rng.randint(1, 9)}{of(rng, 'ABDEFGHJLNPQRSTUWXYZ', 2)}"
    text = shape.format(n=rng.randint(2, 240), s=rng.choice(streets.split("|")), c=rng.choice(cities.split("|")), z=zip_code)
    return Value((text.replace(", IL, ", ", IL ").replace(", TX, ", ", TX ").replace(", OR, ", ", OR "),))


MONTHS = "January February March April May June July August September October November December".split()


@kind("DATE_OF_BIRTH", EVERYWHERE, "date_of_birth dob birth_date birthdate", group=CONTEXTUAL, also="DATE_TIME DOB",
      en="Date of birth|DOB|born", de="Geburtsdatum|geboren am", fr="Date de naissance|né le|née le", es="Fecha de nacimiento", it="Data di nascita|nato il",
      pt="Data de nascimento", nl="Geboortedatum", pl="Data urodzenia", sv="Födelsedatum", fi="Syntymäaika", da="Fødselsdato", nb="Fødselsdato",
      ja="生年月日", ko="생년월일", zh="出生日期", tr="Doğum tarihi", ru="Дата рождения")
def date_of_birth(rng, locale):
    year, month, day = born(rng)
    tongue = language(locale)
    forms = [f"{year}-{month}-{day}"]
    if tongue in ("de", "pl", "fi", "da", "nb", "tr", "ru"):
        forms += [f"{day}.{month}.{year}", f"{int(day)}.{int(month)}.{year}"]
    elif tongue in ("ja", "zh"):
        forms += [f"{year}年{int(month)}月{int(day)}日", f"{year}/{month}/{day}"]
    elif tongue == "ko":
        forms += [f"{year}년 {int(month)}월 {int(day)}일", f"{year}.{month}.{day}"]
    elif locale == "en-US":
        forms += [f"{month}/{day}/{year}", f"{MONTHS[int(month) - 1]} {int(day)}, {year}"]
    else:
        forms += [f"{day}/{month}/{year}", f"{day}-{month}-{year}"]
    if locale == "en-GB":
        forms.append(f"{int(day)} {MONTHS[int(month) - 1]} {year}")
    return Value((rng.choice(forms),))


DOMAINS = "example.com example.org mail.example.net northwind-traders.com contoso.de exemple.fr ejemplo.es example.co.uk posteo.de gmail.com proton.me".split()


@kind("EMAIL", EVERYWHERE, "email e_mail contact_email", "free", also="EMAIL_ADDRESS", en="e-mail|email|mail", de="E-Mail", fr="e-mail|courriel",
      es="correo electrónico", it="e-mail", pt="e-mail", ja="メール", ko="이메일", zh="邮箱", tr="e-posta", ru="почта")
def email(rng, _):
    first, last = rng.choice(words(FIRST["en"])).lower(), rng.choice(words(LAST["en"])).lower()
    local = rng.choice((f"{first}.{last}", f"{first[0]}{last}", f"{first}_{last}{rng.randint(1, 99)}", f"{first}+news", f"{last}-{first}"))
    return Value((f"{local}@{rng.choice(DOMAINS)}",), any_case=True)


AREAS = "201 206 212 213 214 303 305 312 314 404 408 412 415 503 512 602 612 617 702 713 718 773 808 816 832 916 917 919 972".split()


def exchange_of(rng):
    """An exchange of North America, which is no service code and none of fiction's."""
    return until(lambda: digits(rng, 3, "23456789"), lambda text: text[1:] != "11" and text not in ("555", "950", "958", "959", "976"))


# By locale: forms with the country's code, which tell themselves, and national ones. # is a digit, N one from 2 to 9.
PHONES = {
    "en-GB": ("+44 20 7### ####|+44 7402 ######|+44 (0)20 7### ####|+447402######", "020 7### ####|07402 ######|0161 4## ####|(020) 7### ####"),
    "de-DE": ("+49 30 N#######|+49 171 N######|+49 (0)171 N######|0049 171 N######|+49171N######", "030 N#######|0171 N######|0171/N######|089-N#######"),
    "fr-FR": ("+33 6 1# ## ## ##|+33 1 4# ## ## ##|+3361#######", "06 1# ## ## ##|01 4# ## ## ##|06.2#.##.##.##|061#######"),
    "it-IT": ("+39 06 N### ####|+39 347 N## ####|+39347N######", "347 N## ####|06 N### ####"),
    "es-ES": ("+34 6N# ### ###|+34 91 N## ## ##|+346N#######", "6N# ## ## ##|6N# ### ###|91 N## ## ##"),
    "pt-BR": ("+55 11 9N###-####|+55 (21) 9N###-####|+55119N#######", "(11) 9N###-####|(21) 2###-####|11 9N###-####"),
    "nl-NL": ("+31 6 2#######|+31 20 6## ####|+3162#######", "06-2#######|06 4#######|020-6######"),
    "pl-PL": ("+48 5N# ### ###|+48 22 N## ## ##|+485N#######", "5N# ### ###|22 N## ## ##"),
    "sv-SE": ("+46 70 N## ## ##|+46 8 N## ### ##|+4670N######", "070-N## ## ##|08-N## ### ##"),
    "fi-FI": ("+358 40 N######|+358 50 N## ####|+35840N######", "040 N######|050-N######"),
    "da-DK": ("+45 20 2# ## ##|+45 31 2# ## ##|+45202#####", "20 2# ## ##|3123####"),
    "nb-NO": ("+47 912 ## ###|+47 22 ## ## ##|+47912#####", "912 ## ###|22 ## ## ##"),
    "ja-JP": ("+81 90-N###-####|+81-3-N###-####|+8190N#######", "090-N###-####|03-N###-####|080-N###-####"),
    "ko-KR": ("+82 10-N###-####|+82-2-N###-####|+8210N#######", "010-N###-####|02-N###-####"),
    "zh-CN": ("+86 138 #### ####|+86 10 6### ####|+86138########", "138 #### ####|138########|139-####-####"),
    "tr-TR": ("+90 532 N## ## ##|+90 212 N## ## ##|+90532N######", "0532 N## ## ##|0212 N## ## ##"),
    "ru-RU": ("+7 912 N##-##-##|+7 (495) N##-##-##|+7912N######", "8 (912) N##-##-##|8 912 N## ## ##"),
    "en-IN": ("+91 98### #####|+9198########", "098### #####|98### #####"),
    "en-AU": ("+61 41# ### ###|+61 2 9### ####", "041# ### ###|(02) 9### ####"),
}


@kind("PHONE", (*PHONES, "en-US"), "phone phone_number mobile tel", "free", also="PHONE_NUMBER", en="phone|tel|mobile|call", de="Telefon|Tel.|Handy",
      fr="téléphone|tél.", es="teléfono|tel.|móvil", it="telefono|cellulare", pt="telefone|celular", nl="telefoon|mobiel", pl="telefon|tel.",
      sv="telefon|mobil", fi="puhelin|puh.", da="telefon|tlf.", nb="telefon|tlf.", ja="電話|電話番号", ko="전화|휴대폰", zh="电话|手机", tr="telefon|cep",
      ru="телефон|тел.")
def phone(rng, locale):
    if locale == "en-US":
        code, exchange, last = rng.choice(AREAS), exchange_of(rng), digits(rng, 4)
        formatted = (f"({code}) {exchange}-{last}", f"{code}-{exchange}-{last}", f"+1 {code} {exchange} {last}", f"+1-{code}-{exchange}-{last}",
                     f"1-{code}-{exchange}-{last}", f"+1{code}{exchange}{last}")
        weak = (f"{code}.{exchange}.{last}", f"{code}{exchange}{last}", f"{code} {exchange} {last}")
        return Value((rng.choice(weak),), needs="always") if rng.random() < 0.3 else Value((rng.choice(formatted),))
    whole, national = PHONES[locale]
    chosen, needs = (whole, "free") if rng.random() < 0.5 else (national, "always")
    text = rng.choice(chosen.split("|"))
    return Value(("".join(digits(rng, 1) if c == "#" else digits(rng, 1, "23456789") if c == "N" else c for c in text),), needs=needs)


@kind("IP_ADDRESS", EVERYWHERE, "ip client_ip remote_addr", "free", en="IP|IP address|from", de="IP-Adresse", fr="adresse IP", es="dirección IP")
def ip_address(rng, _):
    if rng.random() < 0.7:
        first = until(lambda: rng.randint(1, 223), lambda one: one not in (127, 169, 192))
        return Value((f"{first}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}",), what="v4")
    address = ipaddress.IPv6Address((0x2A00 + rng.randint(0, 0xFFF)) << 112 | rng.getrandbits(rng.choice((32, 64, 112))))
    return Value((rng.choice((str(address), address.exploded)),), what="v6", any_case=True)


@kind("MAC_ADDRESS", EVERYWHERE, "mac mac_address hwaddr", "free", en="MAC|MAC address|hardware address")
def mac_address(rng, _):
    return Value(tuple(of(rng, HEX, 2) for _ in range(6)), ":", ("-",), any_case=True)


@kind("GPS_COORDINATES", EVERYWHERE, "location coordinates gps", group=CONTEXTUAL, en="GPS|coordinates|location", de="Koordinaten", fr="coordonnées",
      es="coordenadas", also="LOCATION COORDINATES GPS")
def gps_coordinates(rng, _):
    return Value((f"{rng.uniform(-60, 70):.{rng.randint(4, 6)}f}, {rng.uniform(-170, 170):.{rng.randint(4, 6)}f}",))


@kind("LICENSE_PLATE", "en-US en-GB de-DE fr-FR es-ES it-IT", "license_plate plate_number kennzeichen", group=CONTEXTUAL, also="UK_VEHICLE_REGISTRATION DE_KFZ",
      en="license plate|number plate|plate", de="Kennzeichen", fr="immatriculation", es="matrícula", it="targa")
def license_plate(rng, locale):
    letters = lambda count: of(rng, "ABCDEFGHJKLMNPRSTVWXYZ", count)
    return Value(({
        "en-US": f"{digits(rng, 1, '123456789')}{letters(3)}{digits(rng, 3)}",
        "en-GB": f"{letters(2)}{rng.choice(('19', '21', '68', '71', '23'))} {letters(3)}",
        "de-DE": f"{rng.choice(('B', 'M', 'HH', 'K', 'F'))}-{letters(2)} {rng.randint(10, 9999)}",
        "fr-FR": f"{letters(2)}-{digits(rng, 3)}-{letters(2)}",
        "es-ES": f"{digits(rng, 4)} {of(rng, 'BCDFGHJKLMNPRSTVWXYZ', 3)}",
        "it-IT": f"{letters(2)}{digits(rng, 3)}{letters(2)}",
    }[locale],))


@kind("VIN", "en-US de-DE fr-FR ja-JP", "vin vehicle_vin", "free", en="VIN|vehicle identification number", de="FIN|Fahrgestellnummer", fr="numéro de châssis")
def vin(rng, _):
    allowed = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
    text = rng.choice("1 2 3 4 5 J WB WV WD SA VF YV KM".split())
    text += of(rng, allowed, 12 - len(text)) + digits(rng, 5)
    return Value((text[:8] + checks.vin(text) + text[9:],))


@kind("IMEI", EVERYWHERE, "imei device_imei", en="IMEI|IMEI number")
def imei(rng, _):
    number = "35" + digits(rng, 12)
    return Value(cut(number + checks.luhn(number), 2, 6, 6, 1), "", ("-", " "))


@kind("MRZ", "de-DE fr-FR en-GB es-ES", "mrz machine_readable_zone", "free", en="MRZ|machine readable zone", also="PASSPORT PASSPORT_MRZ")
def mrz(rng, _):
    """ICAO 9303-4, two lines of 44."""
    country = rng.choice("D<< FRA GBR ESP".split())
    strip = str.maketrans("ÁÉÍÓÚÑáéíóúñ", "AEIOUNaeiouN")
    last, first = rng.choice(words(LAST["es"])).translate(strip).upper(), rng.choice(words(FIRST["en"])).upper()
    year, month, day = born(rng)
    number, birth, expiry = of(rng, "CFGHJKLMNPRTVWXYZ0123456789", 9), year[2:] + month + day, f"{rng.randint(27, 35)}{month}{day}"
    fields = [number + checks.mrz(number), birth + checks.mrz(birth), expiry + checks.mrz(expiry), "<" * 14 + "0"]
    second = fields[0] + country + fields[1] + rng.choice("MF") + fields[2] + fields[3]
    return Value((f"P<{country}{last}<<{first}".ljust(44, "<") + "\n" + second + checks.mrz("".join(fields)),))


# Money


def luhn_number(rng, prefix, length):
    number = prefix + digits(rng, length - 1 - len(prefix))
    return number + checks.luhn(number)


@kind("CREDIT_CARD", EVERYWHERE, "card_number credit_card pan", "free", en="card|card number|credit card", de="Kreditkarte|Kartennummer", fr="carte bancaire",
      es="tarjeta|número de tarjeta", it="carta di credito", pt="cartão", ja="カード番号", zh="信用卡号", ru="карта")
def credit_card(rng, _):
    brand, prefixes, length = rng.choice((("visa", "4", 16), ("visa", "4", 16), ("mastercard", "51 52 53 54 55 2221 2345 2699", 16), ("amex", "34 37", 15),
                                          ("discover", "6011 65", 16), ("jcb", "3530 3566", 16), ("diners", "36 38", 14), ("unionpay", "622126 6225", 16)))
    number = luhn_number(rng, rng.choice(prefixes.split()), length)
    groups = cut(number, 4, 6, 5) if length == 15 else cut(number, 4, 6, 4) if length == 14 else cut(number, 4, 4, 4, 4)
    return Value(groups, " ", ("-", ""), what=brand, needs="always" if brand in ("diners", "unionpay", "jcb") else "")


@kind("CVV", EVERYWHERE, "cvv cvc security_code", en="CVV|CVC|security code", de="CVC|Prüfnummer", fr="CVV", es="CVV")
def cvv(rng, _):
    return Value((digits(rng, 3),))


@kind("CARD_EXPIRY", EVERYWHERE, "card_expiry expiry exp_date", group=CONTEXTUAL, en="card expires|card expiry|valid thru", also="CREDIT_CARD_EXPIRY")
def card_expiry(rng, _):
    return Value((f"{rng.randint(1, 12):02}/{rng.choice(('27', '28', '29', '2027', '2029'))}",))


ACCOUNTS = {  # ISO 13616 registry: n digits, a capitals, c either
    "DE": "18n", "GB": "4a14n", "FR": "10n11c2n", "ES": "20n", "IT": "1a10n12c", "NL": "4a10n", "PL": "24n", "SE": "20n", "FI": "14n", "DK": "14n",
    "NO": "11n", "PT": "21n", "TR": "6n16c", "CH": "5n12c", "AT": "16n", "BE": "12n", "IE": "4a14n", "BR": "23n1a1c", "SA": "2n18c", "AE": "19n",
}


def spanish_control(ten):
    rest = 11 - checks.weighted(ten, (1, 2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11
    return {10: "1", 11: "0"}.get(rest, str(rest))


@kind("IBAN", EVERYWHERE, "iban iban_number", "free", also="IBAN_CODE", en="IBAN|account", de="IBAN|Konto", fr="IBAN", es="IBAN|cuenta")
def iban(rng, _):
    country, shape = rng.choice(tuple(ACCOUNTS.items()))
    account, count = "", ""
    for character in shape:
        if character.isdigit():
            count += character
        else:
            account += of(rng, {"n": string.digits, "a": UPPER, "c": string.digits + "ABCDEF"}[character], int(count))
            count = ""
    if country == "BE":
        account = account[:10] + f"{int(account[:10]) % 97 or 97:02}"
    elif country == "ES":
        account = account[:8] + spanish_control("00" + account[:8]) + spanish_control(account[10:]) + account[10:]
    text = checks.iban(country, account)
    return Value(tuple(text[at : at + 4] for at in range(0, len(text), 4)), " ", ("", "-"), what=country, any_case=True)


@kind("SWIFT_BIC", "de-DE fr-FR en-GB nl-NL es-ES", "swift bic swift_code", en="SWIFT|BIC|SWIFT code", de="BIC", fr="BIC", also="SWIFT_CODE SWIFT BIC")
def swift_bic(rng, _):
    bank, country, place = rng.choice("DEUT COBA BNPA SOGE BARC HSBC INGB ABNA BBVA CAIX UBSW".split()), rng.choice("DE FR GB NL ES CH".split()), of(rng, "FLPH23", 2)
    return Value((bank + country + place + rng.choice(("", "XXX", "500")),))


@kind("US_ABA_ROUTING", "en-US", "routing_number aba", en="routing number|ABA|routing no.", also="ABA_ROUTING_NUMBER US_BANK_NUMBER US_ROUTING_NUMBER")
def us_aba_routing(rng, _):
    number = rng.choice("02 03 06 07 10 11 12 26 31 32".split()) + digits(rng, 6)
    return Value((number + str(-checks.weighted(number, (3, 7, 1) * 3) % 10),))


@kind("US_BANK_NUMBER", "en-US", "account_number bank_account checking_account", en="bank account|account number|checking account", also="BANK_ACCOUNT")
def us_bank_number(rng, _):
    return Value((digits(rng, rng.randint(8, 12), "123456789"),))


@kind("EU_VAT", "de-DE fr-FR es-ES nl-NL de-AT", "vat_id vat_number ust_id", "always", en="VAT number|VAT ID", de="USt-IdNr.|USt-ID|UID",
      fr="TVA intracommunautaire|n° TVA", es="NIF-IVA", nl="btw-nummer", also="DE_VAT_ID VAT DE_VAT EU_VAT_ID VAT_ID")
def eu_vat(rng, locale):
    if locale == "de-DE":
        number = digits(rng, 8, "123456789")
        return Value(("DE" + number + checks.iso7064_11_10(number),))
    if locale == "fr-FR":
        siren = digits(rng, 8, "3456789")
        siren += checks.luhn(siren)
        return Value((f"FR{(12 + 3 * (int(siren) % 97)) % 97:02}{siren}",))
    if locale == "de-AT":
        number = digits(rng, 7)
        total = sum(d // 10 + d % 10 for d in (int(c) * w for c, w in zip(number, (1, 2, 1, 2, 1, 2, 1))))
        return Value((f"ATU{number}{(96 - total) % 10}",))
    if locale == "nl-NL":
        body = f"{digits(rng, 9)}B{digits(rng, 1)}"
        # ISO 7064 MOD 97-10 over NL, the number, B and two digits: the last two are the check.
        return until(lambda: (lambda two: Value((f"NL{body[:-1]}{two:02}",)) if checks.base36(f"NL{body[:-1]}{two:02}") % 97 == 1 else None)(
            rng.randint(2, 98)), bool)
    number = digits(rng, 8)
    return Value((f"ES{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(number) % 23]}",))


@kind("CRYPTO", EVERYWHERE, "wallet btc_address wallet_address", "free", en="wallet|Bitcoin address|address", also="CRYPTO_ADDRESS")
def crypto(rng, _):
    payload = hashlib.sha256(rng.randbytes(32)).digest()
    form = rng.choice(("p2pkh", "p2sh", "bech32", "taproot", "eip55", "eth"))
    if form in ("p2pkh", "p2sh"):
        return Value((checks.base58check((b"\0" if form == "p2pkh" else b"\5") + payload[:20]),), what=form)
    if form == "bech32":
        values = [0] + [int.from_bytes(payload[:20], "big") >> 5 * (31 - place) & 31 for place in range(32)]
        return Value((checks.bech32("bc", values),), what=form)
    if form == "taproot":
        values = [1] + [(int.from_bytes(payload, "big") << 4) >> 5 * (51 - place) & 31 for place in range(52)]
        return Value((checks.bech32("bc", values, 0x2BC830A3),), what=form)
    if form == "eip55":
        return Value((checks.eip55(payload[:20].hex()),), what=form)
    return Value(("0x" + payload[:20].hex(),), what=form, needs="always")


# Health


@kind("MEDICAL_RECORD_NUMBER", "en-US en-GB de-DE", "mrn medical_record_number patient_id", group=CONTEXTUAL, en="MRN|medical record number|patient ID",
      de="Patientennummer|Patienten-ID", also="MRN")
def medical_record_number(rng, _):
    return Value((rng.choice((digits(rng, 8, "123456789"), "MRN" + digits(rng, 7), digits(rng, 7, "123456789"))),))


@kind("HEALTH_INSURANCE_ID", "de-DE en-US", "insurance_id member_id krankenversichertennummer", group=CONTEXTUAL, en="health insurance ID|member ID|insurance member ID",
      de="Krankenversichertennummer|Versichertennummer", also="DE_HEALTH_INSURANCE HEALTH_INSURANCE_NUMBER HEALTH_INSURANCE")
def health_insurance_id(rng, locale):
    if locale == "en-US":
        return Value((of(rng, UPPER, 3) + digits(rng, 9),))
    letter, number = rng.choice(UPPER), digits(rng, 8)
    products = (int(d) * w for d, w in zip(f"{ord(letter) - 64:02}{number}", (1, 2) * 5))
    return Value((letter + number + str(sum(p // 10 + p % 10 for p in products) % 10),))
