"""Numbers of accounts, cards and wallets."""

import hashlib
import string

import checks
from kinds import CONTEXTUAL, EVERYWHERE, Value, cut, digits, kind, of, until
from national import UPPER


def luhn_number(rng, prefix, length):
    number = prefix + digits(rng, length - 1 - len(prefix))
    return number + checks.luhn(number)


@kind(
    "CREDIT_CARD",
    EVERYWHERE,
    "card_number credit_card pan",
    "free",
    en="card|card number|credit card",
    de="Kreditkarte|Kartennummer",
    fr="carte bancaire",
    es="tarjeta|número de tarjeta",
    it="carta di credito",
    pt="cartão",
    ja="カード番号",
    zh="信用卡号",
    ru="карта",
)
def credit_card(rng, _):
    brand, prefixes, length = rng.choice(
        (
            ("visa", "4", 16),
            ("visa", "4", 16),
            ("mastercard", "51 52 53 54 55 2221 2345 2699", 16),
            ("amex", "34 37", 15),
            ("discover", "6011 65", 16),
            ("jcb", "3528 3530 3566 3589", 16),
            ("maestro", "5018 6304 6759", 16),
            ("diners", "36 38", 14),
            ("unionpay", "622126 6225", 16),
        )
    )
    number = luhn_number(rng, rng.choice(prefixes.split()), length)
    groups = cut(number, 4, 6, 5) if length == 15 else cut(number, 4, 6, 4) if length == 14 else cut(number, 4, 4, 4, 4)
    return Value(groups, " ", ("-", ""), what=brand, needs="always" if brand in ("diners", "unionpay", "jcb", "maestro") else "")


@kind("CVV", EVERYWHERE, "cvv cvc security_code", en="CVV|CVC|security code", de="CVC|Prüfnummer", fr="CVV", es="CVV")
def cvv(rng, _):
    return Value((digits(rng, 3),))


@kind(
    "CARD_EXPIRY",
    EVERYWHERE,
    "card_expiry expiry exp_date",
    group=CONTEXTUAL,
    en="card expires|card expiry|valid thru",
    also="CREDIT_CARD_EXPIRY",
)
def card_expiry(rng, _):
    return Value((f"{rng.randint(1, 12):02}/{rng.choice(('27', '28', '29', '2027', '2029'))}",))


ACCOUNTS = {  # ISO 13616 registry: n digits, a capitals, c either
    "DE": "18n",
    "GB": "4a14n",
    "FR": "10n11c2n",
    "ES": "20n",
    "IT": "1a10n12c",
    "NL": "4a10n",
    "PL": "24n",
    "SE": "20n",
    "FI": "14n",
    "DK": "14n",
    "NO": "11n",
    "PT": "21n",
    "TR": "6n16c",
    "CH": "5n12c",
    "AT": "16n",
    "BE": "12n",
    "IE": "4a14n",
    "BR": "23n1a1c",
    "SA": "2n18c",
    "AE": "19n",
}


def spanish_control(ten):
    rest = 11 - checks.weighted(ten, (1, 2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11
    return {10: "1", 11: "0"}.get(rest, str(rest))


@kind(
    "IBAN",
    EVERYWHERE,
    "iban iban_number",
    "free",
    also="IBAN_CODE",
    en="IBAN|account",
    de="IBAN|Konto",
    fr="IBAN",
    es="IBAN|cuenta",
)
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


@kind(
    "SWIFT_BIC",
    "de-DE fr-FR en-GB nl-NL es-ES",
    "swift bic swift_code",
    en="SWIFT|BIC|SWIFT code",
    de="BIC",
    fr="BIC",
    also="SWIFT_CODE SWIFT BIC",
)
def swift_bic(rng, _):
    bank, country, place = (
        rng.choice("DEUT COBA BNPA SOGE BARC HSBC INGB ABNA BBVA CAIX UBSW".split()),
        rng.choice("DE FR GB NL ES CH".split()),
        of(rng, "FLPH23", 2),
    )
    return Value((bank + country + place + rng.choice(("", "XXX", "500")),))


@kind(
    "US_ABA_ROUTING",
    "en-US",
    "routing_number aba",
    en="routing number|ABA|routing no.",
    also="ABA_ROUTING_NUMBER US_BANK_NUMBER US_ROUTING_NUMBER",
)
def us_aba_routing(rng, _):
    number = rng.choice("02 03 06 07 10 11 12 26 31 32".split()) + digits(rng, 6)
    return Value((number + str(-checks.weighted(number, (3, 7, 1) * 3) % 10),))


@kind(
    "US_BANK_NUMBER",
    "en-US",
    "account_number bank_account checking_account",
    en="bank account|account number|checking account",
    also="BANK_ACCOUNT",
)
def us_bank_number(rng, _):
    return Value((digits(rng, rng.randint(8, 12), "123456789"),))


@kind(
    "EU_VAT",
    "de-DE fr-FR es-ES nl-NL de-AT",
    "vat_id vat_number ust_id",
    "always",
    en="VAT number|VAT ID",
    de="USt-IdNr.|USt-ID|UID",
    fr="TVA intracommunautaire|n° TVA",
    es="NIF-IVA",
    nl="btw-nummer",
    also="DE_VAT_ID VAT DE_VAT EU_VAT_ID VAT_ID",
)
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
        return until(
            lambda: (
                lambda two: Value((f"NL{body[:-1]}{two:02}",)) if checks.base36(f"NL{body[:-1]}{two:02}") % 97 == 1 else None
            )(rng.randint(2, 98)),
            bool,
        )
    number = digits(rng, 8)
    return Value((f"ES{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(number) % 23]}",))


@kind(
    "CRYPTO", EVERYWHERE, "wallet btc_address wallet_address", "free", en="wallet|Bitcoin address|address", also="CRYPTO_ADDRESS"
)
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
