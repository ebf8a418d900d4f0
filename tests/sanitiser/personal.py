"""What tells of a person: names, contacts, places, devices, health."""

import ipaddress

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


@kind(
    "PERSON",
    EVERYWHERE,
    "full_name patient_name customer_name name",
    group=CONTEXTUAL,
    also="NAME PERSON_NAME",
    en="Name|Patient name|Customer name",
    de="Name|Patient",
    fr="Nom|Nom du patient",
    es="Nombre|Nombre completo",
    it="Nome|Paziente",
    pt="Nome|Nome completo",
    nl="Naam",
    pl="Imię i nazwisko",
    sv="Namn",
    fi="Nimi",
    da="Navn",
    nb="Navn",
    ja="氏名",
    ko="성명",
    zh="姓名",
    tr="Ad soyad",
    ru="ФИО",
)
def person(rng, locale):
    tongue = language(locale)
    first, last = rng.choice(words(FIRST[tongue])), rng.choice(words(LAST[tongue]))
    if tongue in ("ja", "ko", "zh"):
        return Value((last + (" " if tongue == "ja" else "") + first,))
    return Value((f"{first} {last}",))


BRITISH_AREAS = {"Bristol": "BS", "Leeds": "LS", "Norwich": "NR"}
PLACES = {
    "en-US": (
        "{n} {s}, {c} {z}",
        "Maple Street|Oak Avenue|Lincoln Blvd|Sunset Drive",
        "Springfield, IL|Austin, TX|Portland, OR",
        "5d",
    ),
    "en-GB": ("{n} {s}, {c} {z}", "Church Road|Station Street|High Street|Victoria Avenue", "Bristol|Leeds|Norwich", "gb"),
    "de-DE": ("{s} {n}, {z} {c}", "Hauptstraße|Goetheweg|Lindenallee|Bahnhofstr.", "Berlin|Köln|München", "5d"),
    "fr-FR": (
        "{n} {s}, {z} {c}",
        "rue de la Paix|avenue Victor Hugo|boulevard Voltaire|place Bellecour",
        "Paris|Lyon|Nantes",
        "5d",
    ),
    "es-ES": (
        "{s} {n}, {z} {c}",
        "Calle Mayor|Avenida de América|Plaza de España|Paseo del Prado",
        "Madrid|Sevilla|Zaragoza",
        "5d",
    ),
}


@kind(
    "POSTAL_ADDRESS",
    tuple(PLACES),
    "address street_address shipping_address",
    group=CONTEXTUAL,
    also="ADDRESS LOCATION STREET_ADDRESS",
    en="Address|Shipping address|Home address",
    de="Adresse|Anschrift",
    fr="Adresse",
    es="Dirección|Domicilio",
)
def postal_address(rng, locale):
    shape, streets, cities, code = PLACES[locale]
    city = rng.choice(cities.split("|"))
    if code == "gb":
        postcode = f"{BRITISH_AREAS[city]}{rng.randint(1, 16)} "
        postcode += digits(rng, 1, "123456789") + of(rng, "ABDEFGHJLNPQRSTUWXYZ", 2)
    else:
        postcode = digits(rng, 5, "12345678")
    text = shape.format(n=rng.randint(2, 240), s=rng.choice(streets.split("|")), c=city, z=postcode)
    # As it stands on a letter, one time in five.
    return Value((text.replace(", ", "\n", 1) if rng.random() < 0.2 else text,))


MONTHS = "January February March April May June July August September October November December".split()


@kind(
    "DATE_OF_BIRTH",
    EVERYWHERE,
    "date_of_birth dob birth_date birthdate",
    group=CONTEXTUAL,
    also="DATE_TIME DOB",
    en="Date of birth|DOB|Birth date",
    de="Geburtsdatum|geboren am",
    fr="Date de naissance|né le|née le",
    es="Fecha de nacimiento",
    it="Data di nascita|nato il",
    pt="Data de nascimento",
    nl="Geboortedatum",
    pl="Data urodzenia",
    sv="Födelsedatum",
    fi="Syntymäaika",
    da="Fødselsdato",
    nb="Fødselsdato",
    ja="生年月日",
    ko="생년월일",
    zh="出生日期",
    tr="Doğum tarihi",
    ru="Дата рождения",
)
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


DOMAINS = (
    "example.com example.org mail.example.net northwind-traders.com contoso.de exemple.fr ejemplo.es example.co.uk "
    "posteo.de gmail.com proton.me"
).split()


@kind(
    "EMAIL",
    EVERYWHERE,
    "email e_mail contact_email",
    "free",
    also="EMAIL_ADDRESS",
    en="e-mail|email|mail",
    de="E-Mail",
    fr="e-mail|courriel",
    es="correo electrónico",
    it="e-mail",
    pt="e-mail",
    ja="メール",
    ko="이메일",
    zh="邮箱",
    tr="e-posta",
    ru="почта",
)
def email(rng, _):
    first, last = rng.choice(words(FIRST["en"])).lower(), rng.choice(words(LAST["en"])).lower()
    local = rng.choice(
        (f"{first}.{last}", f"{first[0]}{last}", f"{first}_{last}{rng.randint(1, 99)}", f"{first}+news", f"{last}-{first}")
    )
    return Value((f"{local}@{rng.choice(DOMAINS)}",), any_case=True)


AREAS = (
    "201 206 212 213 214 303 305 312 314 404 408 412 415 503 512 602 612 617 702 713 718 773 808 816 832 916 917 919 972".split()
)


def exchange_of(rng):
    """An exchange of North America, which is no service code and none of fiction's."""
    return until(
        lambda: digits(rng, 3, "23456789"), lambda text: text[1:] != "11" and text not in ("555", "950", "958", "959", "976")
    )


# By locale: forms with the country's code, which tell themselves, and national ones. # is a digit, N one from 2 to 9.
PHONES = {
    "en-GB": (
        "+44 20 7### ####|+44 7402 ######|+44 (0)20 7### ####|+447402######",
        "020 7### ####|07402 ######|0161 4## ####|(020) 7### ####",
    ),
    "de-DE": (
        "+49 30 N#######|+49 171 N######|+49 (0)171 N######|0049 171 N######|+49171N######",
        "030 N#######|0171 N######|0171/N######|089-N#######",
    ),
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


@kind(
    "PHONE",
    (*PHONES, "en-US"),
    "phone phone_number mobile tel",
    "free",
    also="PHONE_NUMBER",
    en="phone|tel|mobile|call",
    de="Telefon|Tel.|Handy",
    fr="téléphone|tél.",
    es="teléfono|tel.|móvil",
    it="telefono|cellulare",
    pt="telefone|celular",
    nl="telefoon|mobiel",
    pl="telefon|tel.",
    sv="telefon|mobil",
    fi="puhelin|puh.",
    da="telefon|tlf.",
    nb="telefon|tlf.",
    ja="電話|電話番号",
    ko="전화|휴대폰",
    zh="电话|手机",
    tr="telefon|cep",
    ru="телефон|тел.",
)
def phone(rng, locale):
    if locale == "en-US":
        code, exchange, last = rng.choice(AREAS), exchange_of(rng), digits(rng, 4)
        formatted = (
            f"({code}) {exchange}-{last}",
            f"{code}-{exchange}-{last}",
            f"+1 {code} {exchange} {last}",
            f"+1-{code}-{exchange}-{last}",
            f"1-{code}-{exchange}-{last}",
            f"+1{code}{exchange}{last}",
            f"({code}) {exchange}-{last} ext. {digits(rng, 3)}",
            f"+1-{code}-{exchange}-{last}x{digits(rng, 4)}",
        )
        weak = (f"{code}.{exchange}.{last}", f"{code}{exchange}{last}", f"{code} {exchange} {last}")
        return Value((rng.choice(weak),), needs="always") if rng.random() < 0.3 else Value((rng.choice(formatted),))
    whole, national = PHONES[locale]
    chosen, needs = (whole, "free") if rng.random() < 0.5 else (national, "always")
    text = rng.choice(chosen.split("|"))
    return Value(
        ("".join(digits(rng, 1) if c == "#" else digits(rng, 1, "23456789") if c == "N" else c for c in text),), needs=needs
    )


@kind(
    "IP_ADDRESS",
    EVERYWHERE,
    "ip client_ip remote_addr",
    "free",
    en="IP|IP address|from",
    de="IP-Adresse",
    fr="adresse IP",
    es="dirección IP",
)
def ip_address(rng, _):
    if rng.random() < 0.7:
        first = until(lambda: rng.randint(1, 223), lambda one: one not in (127, 169, 192))
        return Value((f"{first}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}",), what="v4")
    address = ipaddress.IPv6Address((0x2A00 + rng.randint(0, 0xFFF)) << 112 | rng.getrandbits(rng.choice((32, 64, 112))))
    return Value((rng.choice((str(address), address.exploded)),), what="v6", any_case=True)


@kind("MAC_ADDRESS", EVERYWHERE, "mac mac_address hwaddr", "free", en="MAC|MAC address|hardware address")
def mac_address(rng, _):
    return Value(tuple(of(rng, HEX, 2) for _ in range(6)), ":", ("-",), any_case=True)


@kind(
    "GPS_COORDINATES",
    EVERYWHERE,
    "location coordinates gps",
    group=CONTEXTUAL,
    en="GPS|coordinates|location",
    de="Koordinaten",
    fr="coordonnées",
    es="coordenadas",
    also="LOCATION COORDINATES GPS",
)
def gps_coordinates(rng, _):
    return Value((f"{rng.uniform(-60, 70):.{rng.randint(4, 6)}f}, {rng.uniform(-170, 170):.{rng.randint(4, 6)}f}",))


@kind(
    "LICENSE_PLATE",
    "en-US en-GB de-DE fr-FR es-ES it-IT",
    "license_plate plate_number kennzeichen",
    group=CONTEXTUAL,
    also="UK_VEHICLE_REGISTRATION DE_KFZ",
    en="license plate|number plate|plate",
    de="Kennzeichen",
    fr="immatriculation",
    es="matrícula",
    it="targa",
)
def license_plate(rng, locale):
    letters = lambda count: of(rng, "ABCDEFGHJKLMNPRSTVWXYZ", count)
    return Value(
        (
            {
                "en-US": f"{digits(rng, 1, '123456789')}{letters(3)}{digits(rng, 3)}",
                "en-GB": f"{letters(2)}{rng.choice(('19', '21', '68', '71', '23'))} {letters(3)}",
                "de-DE": f"{rng.choice(('B', 'M', 'HH', 'K', 'F'))}-{letters(2)} {rng.randint(10, 9999)}",
                "fr-FR": f"{letters(2)}-{digits(rng, 3)}-{letters(2)}",
                "es-ES": f"{digits(rng, 4)} {of(rng, 'BCDFGHJKLMNPRSTVWXYZ', 3)}",
                "it-IT": f"{letters(2)}{digits(rng, 3)}{letters(2)}",
            }[locale],
        )
    )


@kind(
    "VIN",
    "en-US de-DE fr-FR ja-JP",
    "vin vehicle_vin",
    "free",
    en="VIN|vehicle identification number",
    de="FIN|Fahrgestellnummer",
    fr="numéro de châssis",
)
def vin(rng, _):
    allowed = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
    text = rng.choice("1 2 3 4 5 J WB WV WD SA VF YV KM".split())
    text += of(rng, allowed, 12 - len(text)) + digits(rng, 5)
    return Value((text[:8] + checks.vin(text) + text[9:],))


@kind("IMEI", EVERYWHERE, "imei device_imei", en="IMEI|IMEI number")
def imei(rng, _):
    number = "35" + digits(rng, 12)
    return Value(cut(number + checks.luhn(number), 2, 6, 6, 1), "", ("-", " "))


@kind(
    "MRZ",
    "de-DE fr-FR en-GB es-ES",
    "mrz machine_readable_zone",
    "free",
    en="MRZ|machine readable zone",
    also="PASSPORT PASSPORT_MRZ",
)
def mrz(rng, _):
    """ICAO 9303-4, two lines of 44."""
    country = rng.choice("D<< FRA GBR ESP".split())
    strip = str.maketrans("ÁÉÍÓÚÑáéíóúñ", "AEIOUNaeiouN")
    last, first = rng.choice(words(LAST["es"])).translate(strip).upper(), rng.choice(words(FIRST["en"])).upper()
    year, month, day = born(rng)
    number, birth, expiry = (
        of(rng, "CFGHJKLMNPRTVWXYZ0123456789", 9),
        year[2:] + month + day,
        f"{rng.randint(27, 35)}{month}{day}",
    )
    fields = [number + checks.mrz(number), birth + checks.mrz(birth), expiry + checks.mrz(expiry), "<" * 14 + "0"]
    second = fields[0] + country + fields[1] + rng.choice("MF") + fields[2] + fields[3]
    return Value((f"P<{country}{last}<<{first}".ljust(44, "<") + "\n" + second + checks.mrz("".join(fields)),))


# Health


@kind(
    "MEDICAL_RECORD_NUMBER",
    "en-US en-GB de-DE",
    "mrn medical_record_number patient_id",
    group=CONTEXTUAL,
    en="MRN|medical record number|patient ID",
    de="Patientennummer|Patienten-ID",
    also="MRN",
)
def medical_record_number(rng, _):
    return Value((rng.choice((digits(rng, 8, "123456789"), "MRN" + digits(rng, 7), digits(rng, 7, "123456789"))),))


@kind(
    "HEALTH_INSURANCE_ID",
    "de-DE en-US",
    "insurance_id member_id krankenversichertennummer",
    group=CONTEXTUAL,
    en="health insurance ID|member ID|insurance member ID",
    de="Krankenversichertennummer|Versichertennummer",
    also="DE_HEALTH_INSURANCE HEALTH_INSURANCE_NUMBER HEALTH_INSURANCE",
)
def health_insurance_id(rng, locale):
    if locale == "en-US":
        return Value((of(rng, UPPER, 3) + digits(rng, 9),))
    letter, number = rng.choice(UPPER), digits(rng, 8)
    products = (int(d) * w for d, w in zip(f"{ord(letter) - 64:02}{number}", (1, 2) * 5))
    return Value((letter + number + str(sum(p // 10 + p % 10 for p in products) % 10),))
