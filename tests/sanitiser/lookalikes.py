"""What looks like a sensitive value and is none: it must stay."""

import base64
import hashlib
import uuid

import checks
from kinds import cut, digits, of
from national import UPPER

HEX = "0123456789abcdef"


def broken(rng, number):
    """The number with another last digit."""
    return number[:-1] + str((int(number[-1]) + rng.randint(1, 9)) % 10)


def broken_card(rng):
    number = "4" + digits(rng, 14)
    return rng.choice((" ", "-", "")).join(cut(broken(rng, number + checks.luhn(number)), 4, 4, 4, 4))


def broken_iban(rng):
    text = checks.iban("DE", digits(rng, 18))
    return text[:2] + f"{int(text[2:4]) % 90 + 5:02}" + text[4:]


def isbn13(rng):
    number = "978" + digits(rng, 9)
    return "-".join(cut(number + checks.ean13(number), 3, 1, 4, 4, 1))


def isbn10(rng):
    number = digits(rng, 9)
    check = "0123456789X"[-checks.weighted(number, range(10, 1, -1)) % 11]
    return "-".join(cut(number + check, 1, 4, 4, 1))


def picture(rng):
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + rng.randbytes(240)).decode()


def date(rng):
    year, month, day = rng.randint(2019, 2026), rng.randint(1, 12), rng.randint(1, 28)
    return rng.choice(
        (f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}", f"{month}/{day}/{year}", f"{year}{month:02}{day:02}")
    )


def timestamp(rng):
    seconds = rng.randint(1_500_000_000, 1_790_000_000)
    return rng.choice(
        (
            str(seconds),
            str(seconds * 1000 + rng.randint(0, 999)),
            "2026-0{}-1{}T0{}:4{}:1{}.{}Z".format(*digits(rng, 5, "123456789"), digits(rng, 3)),
        )
    )


# What it is, names that stand beside it, and how it is made.
LOOKALIKES = {
    "UUID": ("request_id trace_id id", lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4))),
    "git commit": ("commit sha revision", lambda rng: of(rng, HEX, rng.choice((7, 12, 40)))),
    "SHA-256": ("sha256 digest checksum", lambda rng: rng.choice(("", "sha256:")) + hashlib.sha256(rng.randbytes(8)).hexdigest()),
    "MD5": ("md5 etag", lambda rng: hashlib.md5(rng.randbytes(8)).hexdigest()),
    "version": (
        "version release",
        lambda rng: rng.choice(
            (
                f"{rng.randint(0, 30)}.{rng.randint(0, 30)}.{rng.randint(0, 99)}",
                f"v{rng.randint(1, 9)}.{rng.randint(0, 30)}.0-rc.{rng.randint(1, 9)}",
            )
        ),
    ),
    "four-part version": ("version build", lambda rng: f"10.0.{rng.randint(10000, 26000)}.{rng.randint(300, 9000)}"),
    "date": ("date created_on due", date),
    "timestamp": ("timestamp ts created_at", timestamp),
    "order number": (
        "order_id order invoice",
        lambda rng: rng.choice((f"ORD-{rng.randint(2021, 2026)}-{digits(rng, 7)}", f"#{digits(rng, 8)}", f"INV{digits(rng, 9)}")),
    ),
    "ticket": ("ticket issue", lambda rng: f"{of(rng, UPPER, 3)}-{rng.randint(100, 99999)}"),
    "ISBN-13": ("isbn book", isbn13),
    "ISBN-10": ("isbn book", isbn10),
    "EAN": ("ean barcode", lambda rng: (lambda n: n + checks.ean13(n))("40" + digits(rng, 10))),
    "price": (
        "price total amount",
        lambda rng: rng.choice(
            (
                f"${rng.randint(1, 99)},{digits(rng, 3)}.{digits(rng, 2)}",
                f"{rng.randint(1, 9)}.{digits(rng, 3)},{digits(rng, 2)} €",
                f"EUR {rng.randint(10, 99999)}.{digits(rng, 2)}",
            )
        ),
    ),
    "card number with a wrong check digit": ("item reference sku", broken_card),
    "IBAN with a wrong check": ("reference", broken_iban),
    "number of an area that is none": (
        "part model",
        lambda rng: f"{rng.choice(('000', '666'))}-{digits(rng, 2)}-{digits(rng, 4)}",
    ),
    "placeholder": (
        "api_key password token",
        lambda rng: rng.choice(
            (
                "your-api-key",
                "<token>",
                "${DB_PASSWORD}",
                "xxxxxxxx",
                "{{ secret }}",
                "<your-password>",
                "********",
                "process.env.API_KEY",
                "os.environ['TOKEN']",
            )
        ),
    ),
    "picture in base64": ("image logo", picture),
    "address of the machine itself": ("host bind", lambda rng: rng.choice(("127.0.0.1", "0.0.0.0", "::1", "255.255.255.0"))),
    "place in a file": ("at where", lambda rng: f"src/{of(rng, 'abcdefgh', 5)}.py:{rng.randint(10, 2999)}:{rng.randint(1, 80)}"),
    "digits in a row": (
        "example sample",
        lambda rng: rng.choice(("123456789", "1234567890", "000000000", "987654321", "111111111")),
    ),
    "DOI": (
        "doi paper",
        lambda rng: f"10.{rng.randint(1000, 9999)}/{of(rng, 'abcdefghij', 6)}.{rng.randint(2015, 2026)}.{digits(rng, 5)}",
    ),
    "time": ("time at", lambda rng: f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"),
    "colour": ("color background", lambda rng: "#" + of(rng, HEX, 6)),
    "parcel": ("tracking parcel", lambda rng: f"1Z{of(rng, UPPER + '0123456789', 6)}{digits(rng, 10)}"),
    "package with a version": (
        "dependency package",
        lambda rng: f"{of(rng, 'abcdefgh', 6)}@{rng.randint(1, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}",
    ),
    "decorator": ("handler hook", lambda rng: rng.choice(("@app.route", "@pytest.fixture", "icon@2x.png", "@media print"))),
    "count": (
        "rows bytes size",
        lambda rng: rng.choice(
            (digits(rng, rng.randint(4, 8), "123456789"), f"{rng.randint(1, 99)},{digits(rng, 3)},{digits(rng, 3)}")
        ),
    ),
    "measure": (
        "offset score ratio",
        lambda rng: rng.choice(
            (
                f"{rng.uniform(0, 1):.{rng.randint(2, 16)}f}",
                f"{rng.uniform(-99, 99):.3f}",
                f"{rng.randint(1, 9)}.{digits(rng, 2)}e-{digits(rng, 2, '12')}",
            )
        ),
    ),
    "pixels": ("position size", lambda rng: f"({rng.randint(0, 1920)}, {rng.randint(0, 1080)})"),
    "media type with a number": ("rfc standard", lambda rng: f"RFC {rng.randint(1000, 9700)}"),
    "long id": ("snowflake message_id", lambda rng: digits(rng, 19, "1")),
    "path of a package": ("image", lambda rng: f"registry.example.com/team/app:{rng.randint(1, 20)}.{rng.randint(0, 9)}"),
}
