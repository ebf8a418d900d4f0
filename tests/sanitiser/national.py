"""Numbers that states of Europe and its neighbours give to people and companies."""

import string

import checks
from kinds import Value, cut, digits, kind, of, until

UPPER = string.ascii_uppercase


def born(rng):
    """Year, month and day of a birth, as text."""
    return f"{rng.randint(1935, 2007)}", f"{rng.randint(1, 12):02}", f"{rng.randint(1, 28):02}"


def mod11(number, weights, complement=True):
    """The check digit of many numbers: 11 less the rest of the weighted sum. `None` where it would have two digits."""
    rest = checks.weighted(number, weights) % 11
    check = (11 - rest) % 11 if complement else rest
    return None if check == 10 else str(check)


def with_check(rng, make, check):
    """A number and its check digit, tried until there is one."""
    return until(lambda: (lambda number: (number, check(number)))(make()), lambda pair: pair[1] is not None)


# Britain and Ireland


@kind("UK_NHS", "en-GB", "nhs_number nhs_no", en="NHS number|NHS no.")
def uk_nhs(rng, _):
    number, check = with_check(rng, lambda: digits(rng, 9, "4679"), lambda n: mod11(n, range(10, 1, -1)))
    return Value(cut(number + check, 3, 3, 4), " ", ("", "-"))


@kind("UK_NINO", "en-GB", "nino national_insurance_number ni_number", "free", en="National Insurance number|NI number|NINO")
def uk_nino(rng, _):
    prefix = until(
        lambda: rng.choice("ABCEGHJKLMNOPRSTWXYZ") + rng.choice("ABCEGHJKLMNPRSTWXYZ"),
        lambda pair: pair not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ"),
    )
    return Value((prefix, digits(rng, 2), digits(rng, 2), digits(rng, 2), rng.choice("ABCD")), " ", ("", "-"), any_case=True)


@kind("UK_UTR", "en-GB", "utr unique_taxpayer_reference", en="UTR|Unique Taxpayer Reference")
def uk_utr(rng, _):
    number = digits(rng, 9)
    check = "21987654321"[checks.weighted(number, (6, 7, 8, 9, 10, 5, 4, 3, 2)) % 11]
    return Value(cut(check + number, 5, 5), "", (" ",))


@kind("UK_PASSPORT", "en-GB", "passport_number passport_no", en="passport number|UK passport|passport no.", also="PASSPORT")
def uk_passport(rng, _):
    return Value((digits(rng, 9, "123456789"),))


@kind("IE_PPS", "en-IE", "pps pps_number ppsn", "always", en="PPS number|PPSN", also="IE_PPSN")
def ie_pps(rng, _):
    number, last = digits(rng, 7), rng.choice(("", "A", "B", "W", "H"))
    rest = checks.weighted(number, range(8, 1, -1)) + ("WABCDEFGHI".index(last) * 9 if last else 0)
    return Value((number + "WABCDEFGHIJKLMNOPQRSTUV"[rest % 23] + last,), any_case=True)


# Germany, Austria, Switzerland


@kind(
    "DE_TAX_ID",
    "de-DE",
    "steuer_id steueridentifikationsnummer tax_id",
    de="Steuer-ID|Steueridentifikationsnummer|IdNr.",
    en="German tax ID|tax identification number",
)
def de_tax_id(rng, _):
    def ten():
        chosen = rng.sample("0123456789", 9)
        number = chosen + [rng.choice(chosen)]
        rng.shuffle(number)
        return "".join(number)

    number = until(ten, lambda text: text[0] != "0")
    return Value(cut(number + checks.iso7064_11_10(number), 2, 3, 3, 3), " ", ("",))


def german_document(rng, first):
    text = rng.choice(first) + of(rng, "CFGHJKLMNPRTVWXYZ0123456789", 8)
    return Value((text + (checks.mrz(text) if rng.random() < 0.4 else ""),))


@kind(
    "DE_ID_CARD",
    "de-DE",
    "ausweisnummer personalausweis id_card_number",
    de="Ausweisnummer|Personalausweis Nr.|Personalausweisnummer",
    en="German ID card number|identity card number",
)
def de_id_card(rng, _):
    return german_document(rng, "LMNPRTVWXY")


@kind(
    "DE_PASSPORT",
    "de-DE",
    "reisepass reisepassnummer passport_number",
    de="Reisepass|Reisepassnummer|Passnummer",
    en="German passport|passport number",
    also="PASSPORT",
)
def de_passport(rng, _):
    return german_document(rng, "CFGHJK")


@kind(
    "DE_SOCIAL_SECURITY",
    "de-DE",
    "sozialversicherungsnummer rentenversicherungsnummer svnr",
    "always",
    de="Sozialversicherungsnummer|Rentenversicherungsnummer|SV-Nummer",
    en="German social insurance number",
    also="DE_RVNR",
)
def de_social_security(rng, _):
    year, month, day = born(rng)
    number = rng.choice("02 10 12 13 15 18 20 23 40 50 65".split()) + day + month + year[2:] + rng.choice(UPPER) + digits(rng, 2)
    return Value(cut(number + checks.german_pension(number), 2, 6, 1, 3), " ", ("",), any_case=True)


@kind(
    "AT_SVNR",
    "de-AT",
    "svnr sozialversicherungsnummer",
    de="SVNR|Sozialversicherungsnummer",
    en="Austrian social insurance number",
    also="AT_SOCIAL_SECURITY",
)
def at_svnr(rng, _):
    year, month, day = born(rng)
    date = day + month + year[2:]

    def check(serial):
        rest = checks.weighted(serial + date, (3, 7, 9, 5, 8, 4, 2, 1, 6)) % 11
        return None if rest == 10 else str(rest)

    serial, last = with_check(rng, lambda: digits(rng, 3, "123456789"), check)
    return Value((serial + last, date), " ", ("",))


@kind(
    "CH_AHV",
    "de-CH fr-CH",
    "ahv_nummer ahv avs_number",
    "free",
    de="AHV-Nummer|AHV-Nr.",
    fr="numéro AVS|AVS",
    en="Swiss AHV number",
)
def ch_ahv(rng, _):
    number = "756" + digits(rng, 9)
    return Value(cut(number + checks.ean13(number), 3, 4, 4, 2), ".", ("", " "))


# France, Belgium, Netherlands


@kind(
    "FR_NIR",
    "fr-FR",
    "nir numero_securite_sociale",
    "free",
    fr="numéro de sécurité sociale|NIR|n° de sécu",
    en="French NIR|INSEE number",
)
def fr_nir(rng, _):
    year, month, _day = born(rng)
    place = rng.choice([n for n in range(1, 96) if n != 20])
    number = rng.choice("12") + year[2:] + month + f"{place:02}" + f"{rng.randint(1, 900):03}" + f"{rng.randint(1, 999):03}"
    return Value((*cut(number, 1, 2, 2, 2, 3, 3), f"{97 - int(number) % 97:02}"), " ", ("", "-"))


@kind("FR_SIREN", "fr-FR", "siren", fr="SIREN|n° SIREN", en="SIREN")
def fr_siren(rng, _):
    number = digits(rng, 8, "3456789")
    return Value(cut(number + checks.luhn(number), 3, 3, 3), " ", ("",))


@kind("FR_SIRET", "fr-FR", "siret", fr="SIRET|n° SIRET", en="SIRET", also="FR_SIREN")
def fr_siret(rng, _):
    number = digits(rng, 8, "3456789")
    number += checks.luhn(number) + "000" + digits(rng, 1)
    return Value(cut(number + checks.luhn(number), 3, 3, 3, 5), " ", ("",))


@kind(
    "BE_NATIONAL_NUMBER",
    "nl-BE fr-BE",
    "rijksregisternummer numero_national",
    "bare",
    nl="rijksregisternummer|INSZ",
    fr="numéro national|registre national",
    en="Belgian national number",
    also="BE_NN BE_NRN BE_NATIONAL_ID",
)
def be_national_number(rng, _):
    year, month, day = born(rng)
    number = year[2:] + month + day + f"{rng.randint(1, 997):03}"
    check = 97 - int(("2" if year >= "2000" else "") + number) % 97
    if rng.random() < 0.7:
        return Value((f"{year[2:]}.{month}.{day}-{number[6:]}.{check:02}",))
    return Value((f"{number}{check:02}",), needs="always")


@kind("NL_BSN", "nl-NL", "bsn burgerservicenummer", nl="BSN|burgerservicenummer", en="BSN")
def nl_bsn(rng, _):
    number, check = with_check(rng, lambda: digits(rng, 8, "12345678"), lambda n: mod11(n, range(9, 1, -1), complement=False))
    return Value(cut(number + check, 4, 2, 3), "", (".", " "))


# South


@kind("IT_FISCAL_CODE", "it-IT", "codice_fiscale cf", "free", it="codice fiscale|C.F.", en="codice fiscale")
def it_fiscal_code(rng, _):
    year, month, day = born(rng)
    born_on = int(day) + (40 if rng.random() < 0.5 else 0)
    text = of(rng, "BCDFGLMNPRSTVZ", 6) + year[2:] + "ABCDEHLMPRST"[int(month) - 1] + f"{born_on:02}"
    text += rng.choice("ABCDEFGHIL") + f"{rng.randint(1, 999):03}"
    return Value((text + checks.fiscal_code(text),), any_case=True)


@kind("IT_VAT_CODE", "it-IT", "partita_iva p_iva", it="partita IVA|P. IVA", en="partita IVA", also="IT_VAT EU_VAT IT_PARTITA_IVA")
def it_vat_code(rng, _):
    number = "0" + digits(rng, 6) + f"{rng.randint(1, 100):03}"
    return Value((number + checks.luhn(number),))


@kind("ES_NIF", "es-ES", "nif dni", "free", es="NIF|DNI", en="Spanish NIF|DNI", also="ES_DNI")
def es_nif(rng, _):
    number = digits(rng, 8)
    letter = "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]
    if rng.random() < 0.15:
        return Value((f"{number[:2]}.{number[2:5]}.{number[5:]}", letter), "-", any_case=True)
    return Value((number, letter), "", ("-", " "), any_case=True)


@kind("ES_NIE", "es-ES", "nie", "free", es="NIE", en="Spanish NIE", also="ES_NIF")
def es_nie(rng, _):
    first, number = rng.choice("XYZ"), digits(rng, 7)
    letter = "TRWAGMYFPDXBNJZSQVHLCKE"[int(str("XYZ".index(first)) + number) % 23]
    return Value((first, number, letter), "", ("-",), any_case=True)


@kind("PT_NIF", "pt-PT", "nif contribuinte", pt="NIF|contribuinte n.º|número de contribuinte", en="Portuguese NIF")
def pt_nif(rng, _):
    number = digits(rng, 8, "123")
    rest = checks.weighted(number, range(9, 1, -1)) % 11
    return Value(cut(number + ("0" if rest < 2 else str(11 - rest)), 3, 3, 3), "", (" ",))


@kind(
    "TR_TCKN",
    "tr-TR",
    "tckn tc_kimlik_no",
    tr="TC Kimlik No|T.C. kimlik numarası|TCKN",
    en="Turkish ID number",
    also="TR_NATIONAL_ID TR_ID",
)
def tr_tckn(rng, _):
    number = [int(digit) for digit in digits(rng, 9, "123456789")]
    number.append((sum(number[::2]) * 7 - sum(number[1::2])) % 10)
    number.append(sum(number) % 10)
    return Value(("".join(map(str, number)),))


@kind(
    "IL_ID",
    "en-IL he-IL",
    "teudat_zehut israeli_id",
    en="Teudat Zehut|Israeli ID",
    he="תעודת זהות|ת.ז.",
    also="IL_TEUDAT_ZEHUT IL_ID_NUMBER",
)
def il_id(rng, _):
    number = digits(rng, 8, "0123")
    return Value((number + checks.luhn(number),))


# North and east


@kind("PL_PESEL", "pl-PL", "pesel", pl="PESEL|numer PESEL", en="PESEL")
def pl_pesel(rng, _):
    year, month, day = born(rng)
    month = f"{int(month) + (20 if year >= '2000' else 0):02}"
    number = year[2:] + month + day + digits(rng, 4)
    return Value((number + str(-checks.weighted(number, (1, 3, 7, 9) * 3) % 10),))


@kind("PL_NIP", "pl-PL", "nip", pl="NIP", en="Polish NIP")
def pl_nip(rng, _):
    check = lambda number: mod11(number, (6, 5, 7, 2, 3, 4, 5, 6, 7), complement=False)
    number, last = with_check(rng, lambda: digits(rng, 9, "5678"), check)
    return Value(cut(number + last, 3, 3, 2, 2), "-", ("", " "))


@kind("SE_PERSONNUMMER", "sv-SE", "personnummer", "bare", sv="personnummer|pers.nr", en="Swedish personnummer")
def se_personnummer(rng, _):
    year, month, day = born(rng)
    nine = year[2:] + month + day + digits(rng, 3)
    long = rng.random() < 0.5
    return Value(((year if long else year[2:]) + month + day, nine[6:] + checks.luhn(nine)), "-", ("",))


@kind(
    "FI_PERSONAL_IDENTITY_CODE",
    "fi-FI",
    "henkilotunnus hetu",
    "free",
    fi="henkilötunnus|hetu",
    en="Finnish personal identity code",
    also="FI_HETU",
)
def fi_personal_identity_code(rng, _):
    year, month, day = born(rng)
    date, serial = day + month + year[2:], f"{rng.randint(2, 899):03}"
    sign = "A" if year >= "2000" else "-"
    return Value((date + sign + serial + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(date + serial) % 31],), any_case=True)


@kind("DK_CPR", "da-DK", "cpr cpr_nummer", da="CPR-nummer|CPR-nr.|CPR", en="Danish CPR number")
def dk_cpr(rng, _):
    year, month, day = born(rng)
    return Value((day + month + year[2:], digits(rng, 4, "0123" if year < "2000" else "4567")), "-", ("", " "))


@kind(
    "NO_FODSELSNUMMER",
    "nb-NO",
    "fodselsnummer personnummer",
    nb="fødselsnummer|fnr",
    en="Norwegian birth number",
    also="NO_FNR NO_BIRTH_NUMBER",
)
def no_fodselsnummer(rng, _):
    year, month, day = born(rng)

    def check(nine):
        first = mod11(nine, (3, 7, 6, 1, 8, 9, 4, 5, 2))
        second = first and mod11(nine + first, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2))
        return second and first + second

    nine, last = with_check(rng, lambda: day + month + year[2:] + digits(rng, 3, "01234" if year < "2000" else "56789"), check)
    return Value(cut(nine + last, 6, 5), "", (" ",))


@kind("RU_INN", "ru-RU", "inn", ru="ИНН", en="Russian INN")
def ru_inn(rng, _):
    if rng.random() < 0.5:
        number = digits(rng, 9, "2357")
        return Value((number + str(checks.weighted(number, (2, 4, 10, 3, 5, 9, 4, 6, 8)) % 11 % 10),))
    number = digits(rng, 10, "2357")
    for weights in ((7, 2, 4, 10, 3, 5, 9, 4, 6, 8), (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)):
        number += str(checks.weighted(number, weights) % 11 % 10)
    return Value((number,))


@kind("RU_SNILS", "ru-RU", "snils", "bare", ru="СНИЛС", en="SNILS")
def ru_snils(rng, _):
    number = digits(rng, 9, "123456789")
    check = checks.weighted(number, range(9, 0, -1)) % 101 % 100
    whole = "-".join(cut(number, 3, 3, 3))
    return Value((whole, f"{check:02}"), " ") if rng.random() < 0.75 else Value((f"{number}{check:02}",), needs="always")


@kind(
    "UA_RNOKPP",
    "uk-UA",
    "rnokpp ipn tax_number",
    uk="РНОКПП|ІПН",
    en="Ukrainian tax number|RNOKPP",
    also="UA_TAX_ID UA_IPN UA_INN",
)
def ua_rnokpp(rng, _):
    number = digits(rng, 9, "23")
    return Value((number + str(checks.weighted(number, (-1, 5, 7, 9, 4, 6, 10, 5, 7)) % 11 % 10),))
