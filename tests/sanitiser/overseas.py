"""Numbers that states of America, Africa, Asia and Oceania give to people and companies."""

import checks
from kinds import Value, cut, digits, kind, of, until
from national import UPPER, born, mod11, with_check

# America


@kind("US_SSN", "en-US", "ssn social_security_number", "bare", en="SSN|Social Security number|social security no.")
def us_ssn(rng, _):
    area = until(lambda: rng.randint(1, 899), lambda number: number != 666)
    return Value((f"{area:03}", f"{rng.randint(1, 99):02}", f"{rng.randint(1, 9999):04}"), "-", (" ", "", "."))


@kind("US_ITIN", "en-US", "itin taxpayer_id", "bare", en="ITIN|individual taxpayer id")
def us_itin(rng, _):
    group = rng.choice([*range(50, 66), *range(70, 89), 90, 91, 92, *range(94, 100)])
    return Value((digits(rng, 3, "9"), f"{group:02}", digits(rng, 4)), "-", (" ", ""))


@kind("US_EIN", "en-US", "ein employer_identification_number", en="EIN|employer identification number|FEIN")
def us_ein(rng, _):
    return Value(
        (rng.choice("12 20 26 27 33 36 41 45 46 47 58 61 75 81 82 83 84 85 86 87 88 92 93 94 95 98".split()), digits(rng, 7)), "-"
    )


@kind(
    "US_PASSPORT",
    "en-US",
    "passport_number us_passport passport_no",
    en="passport number|US passport|passport no.",
    also="PASSPORT",
)
def us_passport(rng, _):
    return Value((rng.choice((digits(rng, 9, "123456"), rng.choice("ACYZ") + digits(rng, 8))),))


@kind(
    "US_DRIVER_LICENSE",
    "en-US",
    "driver_license drivers_license_number",
    en="driver's license|driver license number|DL number",
    also="DRIVER_LICENSE DRIVERS_LICENSE",
)
def us_driver_license(rng, _):
    florida = Value(
        (rng.choice(UPPER) + digits(rng, 3), digits(rng, 3), digits(rng, 2), digits(rng, 3), digits(rng, 1)), "-", ("",)
    )
    return rng.choice((Value((rng.choice(UPPER) + digits(rng, 7),)), Value((digits(rng, 9),)), florida))


@kind(
    "US_MBI",
    "en-US",
    "mbi medicare_id medicare_number",
    "bare",
    en="Medicare number|MBI|Medicare beneficiary identifier",
    also="US_MEDICARE",
)
def us_mbi(rng, _):
    letters = "ACDEFGHJKMNPQRTUVWXY"
    shape = (
        "123456789",
        letters,
        letters + "0123456789",
        "0123456789",
        letters,
        letters + "0123456789",
        "0123456789",
        letters,
        letters,
        "0123456789",
        "0123456789",
    )
    return Value(cut("".join(rng.choice(one) for one in shape), 4, 3, 4), "-", ("", " "))


@kind("US_NPI", "en-US", "npi provider_npi", en="NPI|national provider identifier")
def us_npi(rng, _):
    number = digits(rng, 9, "12")
    return Value((number + checks.luhn("80840" + number),))


@kind(
    "US_DEA",
    "en-US",
    "dea dea_number",
    "always",
    en="DEA number|DEA registration",
    also="MEDICAL_LICENSE DEA_NUMBER US_DEA_NUMBER",
)
def us_dea(rng, _):
    number = digits(rng, 6)
    check = (checks.weighted(number[::2], (1,) * 3) + 2 * checks.weighted(number[1::2], (1,) * 3)) % 10
    return Value((rng.choice("ABFGMPR") + rng.choice(UPPER) + number + str(check),))


@kind(
    "CA_SIN", "en-CA fr-CA", "sin social_insurance_number", en="SIN|social insurance number", fr="NAS|numéro d'assurance sociale"
)
def ca_sin(rng, _):
    number = digits(rng, 8, "1234567")
    return Value(cut(number + checks.luhn(number), 3, 3, 3), " ", ("-", ""))


@kind("BR_CPF", "pt-BR", "cpf cpf_cliente", "bare", pt="CPF|CPF do titular", en="CPF")
def br_cpf(rng, _):
    def check(number):
        rest = checks.weighted(number, range(len(number) + 1, 1, -1)) * 10 % 11
        return str(rest % 10)

    number = digits(rng, 9)
    number += check(number)
    number += check(number)
    whole = cut(number, 3, 3, 3, 2)
    return Value((".".join(whole[:3]), whole[3]), "-") if rng.random() < 0.75 else Value(("".join(whole),), needs="always")


@kind("BR_CNPJ", "pt-BR", "cnpj cnpj_empresa", "bare", pt="CNPJ|CNPJ da empresa", en="CNPJ")
def br_cnpj(rng, _):
    number = digits(rng, 8) + "000" + rng.choice("123")
    for weights in ((5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2), (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)):
        rest = checks.weighted(number, weights) % 11
        number += "0" if rest < 2 else str(11 - rest)
    formatted = f"{number[:2]}.{number[2:5]}.{number[5:8]}/{number[8:12]}-{number[12:]}"
    return Value((formatted,)) if rng.random() < 0.75 else Value((number,), needs="always")


def spanish_name_letters(rng):
    return rng.choice("ABCDEFGHJLMNPRSTUVYZ") + rng.choice("AEIOU") + of(rng, "ABCDEFGHJLMNPRSTUVYZ", 2)


@kind("MX_CURP", "es-MX", "curp", "free", es="CURP", en="CURP")
def mx_curp(rng, _):
    year, month, day = born(rng)
    state = rng.choice("AS BC BS CC CL CM CS CH DF DG GT GR HG JC MC MN MS NT NL OC PL QT QR SP SL SR TC TS TL VZ YN ZS".split())
    number = spanish_name_letters(rng) + year[2:] + month + day + rng.choice("HM") + state + of(rng, "BCDFGHJKLMNPQRSTVWXYZ", 3)
    number += digits(rng, 1) if year < "2000" else rng.choice("ABCDEF")
    return Value((number + checks.curp(number),), any_case=True)


@kind("MX_RFC", "es-MX", "rfc", "bare", es="RFC", en="RFC")
def mx_rfc(rng, _):
    year, month, day = born(rng)
    twelve = spanish_name_letters(rng) + year[2:] + month + day + of(rng, "ABCDEFGHJKLMNPQRSTUVWXYZ123456789", 2)
    return Value((twelve + checks.rfc(twelve),), any_case=True)


@kind("AR_CUIT", "es-AR", "cuit cuil", "bare", es="CUIT|CUIL", en="CUIT")
def ar_cuit(rng, _):
    make = lambda: rng.choice("20 23 24 27 30 33 34".split()) + digits(rng, 8)
    number, check = with_check(rng, make, lambda n: mod11(n, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)))
    return Value((number[:2], number[2:], check), "-", ("", " "))


@kind("CL_RUT", "es-CL", "rut", "bare", es="RUT|R.U.T.", en="RUT")
def cl_rut(rng, _):
    number = str(rng.randint(5_000_000, 25_999_999))
    check = "0123456789K"[-checks.weighted(reversed(number), (2, 3, 4, 5, 6, 7, 2, 3)) % 11]
    dotted = f"{int(number):,}".replace(",", ".")
    return Value((dotted, check), "-") if rng.random() < 0.7 else Value((number, check), "-", needs="always")


# Africa


@kind("ZA_ID", "en-ZA", "id_number south_african_id", "always", en="South African ID number|SA ID number", also="ZA_ID_NUMBER")
def za_id(rng, _):
    year, month, day = born(rng)
    number = year[2:] + month + day + digits(rng, 4) + "0" + rng.choice("89")
    return Value(cut(number + checks.luhn(number), 6, 4, 3), "", (" ",))


# Asia and Oceania


@kind("IN_AADHAAR", "en-IN hi-IN", "aadhaar aadhaar_number", "bare", en="Aadhaar|Aadhaar number|UIDAI", hi="आधार|आधार संख्या")
def in_aadhaar(rng, _):
    number = digits(rng, 11, "23456789")
    return Value(cut(number + checks.verhoeff(number), 4, 4, 4), " ", ("", "-"))


def pan(rng):
    return of(rng, UPPER, 3) + rng.choice("PCHFATBLJG") + rng.choice(UPPER) + digits(rng, 4) + rng.choice(UPPER)


@kind("IN_PAN", "en-IN", "pan pan_number", "bare", en="PAN|PAN card|Permanent Account Number")
def in_pan(rng, _):
    return Value((pan(rng),))


@kind("IN_GSTIN", "en-IN", "gstin gst_number", "free", en="GSTIN|GST number")
def in_gstin(rng, _):
    number = f"{rng.randint(1, 37):02}" + pan(rng) + rng.choice("123456789") + "Z"
    return Value((number + checks.gstin(number),))


@kind(
    "CN_RESIDENT_ID",
    "zh-CN",
    "id_card resident_id shenfenzheng",
    "free",
    zh="身份证号码|身份证号|身份证",
    en="Chinese resident ID",
    also="CN_ID CN_RESIDENT_IDENTITY",
)
def cn_resident_id(rng, _):
    year, month, day = born(rng)
    area = rng.choice("110101 120103 310104 320106 330102 370102 420106 440103 440305 510104 610113".split())
    number = area + year + month + day + digits(rng, 3)
    return Value((number + checks.iso7064_11_2(number),), any_case=True)


@kind("JP_MY_NUMBER", "ja-JP", "my_number kojin_bango", ja="マイナンバー|個人番号", en="My Number|Individual Number")
def jp_my_number(rng, _):
    number = digits(rng, 11)
    rest = checks.weighted(reversed(number), (2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6)) % 11
    return Value(cut(number + ("0" if rest <= 1 else str(11 - rest)), 4, 4, 4), " ", ("", "-"))


@kind(
    "KR_RRN",
    "ko-KR",
    "rrn resident_registration_number",
    "bare",
    ko="주민등록번호|주민번호",
    en="Korean RRN|resident registration number",
)
def kr_rrn(rng, _):
    year, month, day = born(rng)
    number = year[2:] + month + day + rng.choice("12" if year < "2000" else "34") + f"{rng.randint(0, 95):02}" + digits(rng, 3)
    check = (11 - checks.weighted(number, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    return Value(cut(f"{number}{check}", 6, 7), "-", ("",))


@kind("SG_NRIC_FIN", "en-SG", "nric fin nric_number", "free", en="NRIC|NRIC/FIN|FIN")
def sg_nric_fin(rng, _):
    first, number = rng.choice("STFG"), digits(rng, 7)
    rest = (checks.weighted(number, (2, 7, 6, 5, 4, 3, 2)) + (4 if first in "TG" else 0)) % 11
    return Value((first + number + ("JZIHGFEDCBA" if first in "ST" else "XWUTRQPNMLK")[rest],), any_case=True)


@kind("AU_TFN", "en-AU", "tfn tax_file_number", en="TFN|tax file number")
def au_tfn(rng, _):
    number = until(lambda: digits(rng, 9, "123456789"), lambda n: checks.weighted(n, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0)
    return Value(cut(number, 3, 3, 3), " ", ("",))


@kind("AU_ABN", "en-AU", "abn australian_business_number", "bare", en="ABN|Australian Business Number")
def au_abn(rng, _):
    weights = (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)
    body = digits(rng, 9)
    # The rule takes one from the first digit, whose weight is ten.
    number = next(f"{two}{body}" for two in range(11, 100) if (checks.weighted(f"{two}{body}", weights) - 10) % 89 == 0)
    return Value(cut(number, 2, 3, 3, 3), " ", ("",))


@kind("AU_MEDICARE", "en-AU", "medicare_number medicare", "always", en="Medicare number|Medicare card")
def au_medicare(rng, _):
    number = digits(rng, 8, "23456")
    number += str(checks.weighted(number, (1, 3, 7, 9, 1, 3, 7, 9)) % 10) + rng.choice("123456789")
    return Value(cut(number, 4, 5, 1), " ", ("",))


@kind("NZ_IRD", "en-NZ", "ird ird_number", en="IRD number|IRD")
def nz_ird(rng, _):
    def check(number):
        first = mod11(number, (3, 2, 7, 6, 5, 4, 3, 2))
        return first or mod11(number, (7, 4, 3, 2, 5, 2, 7, 6))

    number, last = with_check(rng, lambda: str(rng.randint(10_000_000, 14_999_999)), check)
    return Value(cut(number + last, 3, 3, 3), "-", ("", " "))
