"""What opens a door. Made to the published forms of each vendor, from random characters: none of these was ever issued."""

import base64
import hashlib
import hmac
import json
import string
import zlib

from kinds import EVERYWHERE, SECRET, Value, digits, kind, of

LOWER, UPPER = string.ascii_lowercase, string.ascii_uppercase
BASE62 = string.digits + UPPER + LOWER
URL64 = BASE62 + "-_"
HEX = "0123456789abcdef"
LABELS = dict(en="API key|key|token", de="API-Schlüssel|Schlüssel", fr="clé API|jeton", es="clave de API|token")


def secret(name, keys, needs="free", also="", **labels):
    return kind(name, EVERYWHERE, keys, needs, group=SECRET, also=f"SECRET API_KEY {also}", **(labels or LABELS))


def checked(prefix, body):
    """GitHub's and npm's form: six digits of base 62 of the CRC-32 end it."""
    crc, check = zlib.crc32(body.encode()), ""
    for _ in range(6):
        crc, rest = divmod(crc, 62)
        check = BASE62[rest] + check
    return prefix + body + check


@secret("ANTHROPIC_KEY", "anthropic_api_key api_key")
def anthropic_key(rng, _):
    return Value(("sk-ant-api03-" + of(rng, URL64, 93) + "AA",))


@secret("OPENAI_KEY", "openai_api_key api_key")
def openai_key(rng, _):
    return Value(
        (
            rng.choice(
                (
                    f"sk-proj-{of(rng, URL64, 74)}T3BlbkFJ{of(rng, URL64, 74)}",
                    f"sk-{of(rng, BASE62, 20)}T3BlbkFJ{of(rng, BASE62, 20)}",
                    f"sk-svcacct-{of(rng, URL64, 74)}T3BlbkFJ{of(rng, URL64, 74)}",
                )
            ),
        )
    )


@secret("AWS_ACCESS_KEY_ID", "aws_access_key_id access_key", en="AWS key|access key id")
def aws_access_key_id(rng, _):
    return Value((rng.choice(("AKIA", "ASIA")) + of(rng, UPPER + "234567", 16),))


@secret("AWS_SECRET_KEY", "aws_secret_access_key", "always", en="AWS secret access key|aws_secret_access_key")
def aws_secret_key(rng, _):
    return Value((of(rng, BASE62 + "+/", 40),))


@secret("GITHUB_TOKEN", "github_token gh_token")
def github_token(rng, _):
    prefix = rng.choice("ghp_ gho_ ghs_ ghu_".split())
    return Value(
        (
            (
                checked(prefix, of(rng, BASE62, 30))
                if rng.random() < 0.7
                else f"github_pat_{of(rng, BASE62, 22)}_{of(rng, BASE62, 59)}"
            ),
        )
    )


@secret("GITLAB_TOKEN", "gitlab_token ci_token")
def gitlab_token(rng, _):
    return Value((rng.choice(("glpat-", "gldt-", "glptt-")) + of(rng, URL64, 20),))


@secret("SLACK_TOKEN", "slack_token slack_bot_token")
def slack_token(rng, _):
    if rng.random() < 0.3:
        path = f"T{of(rng, UPPER + string.digits, 10)}/B{of(rng, UPPER + string.digits, 10)}/{of(rng, BASE62, 24)}"
        return Value((path,), before="https://hooks.slack.com/services/", what="webhook")
    return Value((f"{rng.choice(('xoxb', 'xoxp'))}-{digits(rng, 12)}-{digits(rng, 13)}-{of(rng, BASE62, 24)}",))


@secret("STRIPE_KEY", "stripe_secret_key stripe_key")
def stripe_key(rng, _):
    return Value((rng.choice(("sk_live_", "rk_live_", "sk_test_")) + of(rng, BASE62, rng.choice((24, 99))),))


@secret("GOOGLE_KEY", "google_api_key gemini_api_key")
def google_key(rng, _):
    return Value((rng.choice(("AIza" + of(rng, URL64, 35), "GOCSPX-" + of(rng, URL64, 28), "ya29.a0" + of(rng, URL64, 160))),))


@secret("AZURE_KEY", "azure_storage_key account_key", "always", en="Azure storage key")
def azure_key(rng, _):
    key = base64.b64encode(rng.randbytes(64)).decode()
    if rng.random() < 0.5:
        account = of(rng, LOWER, 8)
        return Value(
            (key,),
            before=f"DefaultEndpointsProtocol=https;AccountName={account};AccountKey=",
            after=";EndpointSuffix=core.windows.net",
            key="connection_string",
            label="connection string",
            what="connection string",
        )
    return Value(
        (f"{of(rng, BASE62, 3)}8Q~{of(rng, URL64, 34)}",), key="client_secret", label="client secret", what="client secret"
    )


@secret("SENDGRID_KEY", "sendgrid_api_key mail_key")
def sendgrid_key(rng, _):
    return Value((f"SG.{of(rng, URL64, 22)}.{of(rng, URL64, 43)}",))


@secret("TWILIO_KEY", "twilio_api_key twilio_key")
def twilio_key(rng, _):
    return Value(("SK" + of(rng, HEX, 32),))


@secret("NPM_TOKEN", "npm_token node_auth_token")
def npm_token(rng, _):
    return Value((checked("npm_", of(rng, BASE62, 30)),))


@secret("PYPI_TOKEN", "pypi_token twine_password")
def pypi_token(rng, _):
    return Value(("pypi-AgEIcHlwaS5vcmc" + of(rng, URL64, 160),))


@secret("HUGGING_FACE_TOKEN", "hf_token hugging_face_token")
def hugging_face_token(rng, _):
    return Value(("hf_" + of(rng, BASE62, 34),))


# Vendor, prefix, alphabet, length, what follows: parts by turns.
VENDORS = {
    "openrouter": ("sk-or-v1-", HEX, 64),
    "groq": ("gsk_", BASE62, 52),
    "xai": ("xai-", BASE62, 80),
    "perplexity": ("pplx-", BASE62, 48),
    "nvidia": ("nvapi-", URL64, 64),
    "tavily": ("tvly-", BASE62, 32),
    "langsmith": ("lsv2_pt_", HEX, 32, "_", HEX, 10),
    "digitalocean": ("dop_v1_", HEX, 64),
    "shopify": ("shpat_", HEX, 32),
    "docker": ("dckr_pat_", URL64, 27),
    "figma": ("figd_", URL64, 43),
    "linear": ("lin_api_", BASE62, 40),
    "telegram": ("", string.digits, 10, ":AA", URL64, 33),
    "vault": ("hvs.", URL64, 95),
    "terraform": ("", BASE62, 14, ".atlasv1.", URL64, 67),
    "atlassian": ("ATATT3xFfGF0", URL64, 171, "=", HEX.upper(), 8),
    "notion": ("ntn_", BASE62, 46),
    "mailgun": ("key-", HEX, 32),
    "mailchimp": ("", HEX, 32, "-us", "123456789", 1),
    "grafana": ("glsa_", BASE62, 32, "_", HEX, 8),
    "sentry": ("sntryu_", HEX, 64),
    "pulumi": ("pul-", HEX, 40),
    "doppler": ("dp.pt.", BASE62, 43),
    "postman": ("PMAK-", HEX, 24, "-", HEX, 34),
    "rubygems": ("rubygems_", HEX, 48),
    "nuget": ("oy2", LOWER + "234567", 43),
    "crates": ("cio", BASE62, 32),
    "fly": ("fo1_", URL64, 43),
    "supabase": ("sbp_", HEX, 40),
    "planetscale": ("pscale_tkn_", URL64, 43),
    "alibaba": ("LTAI5t", BASE62, 18),
    "tencent": ("AKID", BASE62, 32),
    "replicate": ("r8_", BASE62, 37),
    "pinecone": ("pcsk_", BASE62, 5, "_", BASE62, 63),
    "databricks": ("dapi", HEX, 32),
    "newrelic": ("NRAK-", UPPER + string.digits, 27),
    "airtable": ("pat", BASE62, 14, ".", HEX, 64),
    "netlify": ("nfp_", BASE62, 36),
    "fireworks": ("fw_", BASE62, 24),
    "facebook": ("EAAM", BASE62, 120),
    "dropbox": ("sl.u.", URL64, 130),
    "discord": ("MT", BASE62, 24, ".", URL64, 6, ".", URL64, 38),
    "age": ("AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
    "square": ("sq0csp-", URL64, 43),
}


@secret("VENDOR_KEY", "api_key api_token service_token", also="PRIVATE_KEY CREDENTIAL PASSWORD")
def vendor_key(rng, _):
    vendor = rng.choice(tuple(VENDORS))
    parts = VENDORS[vendor]
    text = parts[0]
    for at in range(1, len(parts), 3):
        text += of(rng, parts[at], parts[at + 1]) + (parts[at + 2] if at + 2 < len(parts) else "")
    return Value(
        (text,), what=vendor, needs="always" if vendor in ("crates", "tencent", "fireworks", "mailchimp", "nuget") else ""
    )


@secret("JWT", "id_token access_token jwt", en="JWT|token|id token")
def jwt(rng, _):
    part = lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")
    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}, separators=(",", ":")).encode())
    body = part(json.dumps({"sub": digits(rng, 8), "iat": 1_700_000_000 + rng.randint(0, 50_000_000), "scope": "read"}).encode())
    return Value((f"{head}.{body}.{part(hmac.digest(rng.randbytes(16), f'{head}.{body}'.encode(), hashlib.sha256))}",))


@secret("PRIVATE_KEY", "private_key ssh_key", en="private key|SSH key", de="privater Schlüssel", fr="clé privée")
def private_key(rng, _):
    name, start, size = rng.choice(
        (
            ("RSA PRIVATE KEY", b"\x30\x82\x04\xa4\x02\x01\x00", 900),
            ("PRIVATE KEY", b"\x30\x82\x04\xbe\x02\x01\x00", 900),
            ("EC PRIVATE KEY", b"\x30\x77\x02\x01\x01\x04\x20", 114),
            ("OPENSSH PRIVATE KEY", b"openssh-key-v1\0", 300),
        )
    )
    body = base64.b64encode(start + rng.randbytes(size)).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return Value((f"-----BEGIN {name}-----\n{lines}\n-----END {name}-----",), what=name)


@secret("AUTHORIZATION", "Authorization authorization", "always", also="CREDENTIAL", en="Authorization")
def authorization(rng, _):
    if rng.random() < 0.3:
        pair = f"{of(rng, LOWER, 6)}:{of(rng, BASE62, 12)}"
        return Value((base64.b64encode(pair.encode()).decode(),), before="Basic ", what="basic")
    return Value((of(rng, URL64, rng.choice((32, 40, 64))),), before="Bearer ", what="bearer")


@secret("URL_PASSWORD", "database_url redis_url amqp_url", "free", also="PASSWORD", en="database URL|connection")
def url_password(rng, _):
    scheme, port, path = rng.choice(
        (
            ("postgres", 5432, "/orders"),
            ("mysql", 3306, "/shop"),
            ("redis", 6379, "/0"),
            ("amqp", 5672, "/"),
            ("mongodb", 27017, "/app"),
            ("https", 443, "/repo.git"),
        )
    )
    return Value(
        (of(rng, BASE62 + "-_.!~", rng.randint(10, 20)),),
        before=f"{scheme}://{of(rng, LOWER, 5)}:",
        after=f"@db.internal:{port}{path}",
        what=scheme,
    )


WORDS = "correct horse battery staple winter summer dragon silver copper planet river castle tiger lemon coffee orbit".split()


@secret(
    "PASSWORD",
    "password db_password passwd user_password",
    "always",
    en="password|Password|passphrase",
    de="Passwort|Kennwort",
    fr="mot de passe",
    es="contraseña",
    it="password",
    pt="senha",
    nl="wachtwoord",
    pl="hasło",
    ja="パスワード",
    ko="비밀번호",
    zh="密码",
    tr="şifre",
    ru="пароль",
    sv="lösenord",
    fi="salasana",
    da="adgangskode",
    nb="passord",
)
def password(rng, _):
    word = rng.choice(WORDS)
    return Value(
        (
            rng.choice(
                (
                    f"{word.capitalize()}{rng.randint(10, 2099)}{rng.choice('!#$*?')}",
                    of(rng, BASE62 + "!#$*-_", 14),
                    f"{word}-{rng.choice(WORDS)}-{rng.randint(1, 99)}",
                    of(rng, BASE62, 10) + "!",
                )
            ),
        )
    )


@secret(
    "SECRET",
    "client_secret api_secret access_token signing_key",
    "always",
    en="client secret|access token|API key|secret key",
    de="API-Schlüssel|Geheimnis",
    fr="clé secrète",
    es="clave secreta",
)
def named_secret(rng, _):
    return Value((rng.choice((of(rng, HEX, 32), of(rng, BASE62, 40), of(rng, URL64, 43), of(rng, HEX, 64))),))


@secret("PASSWORD_HASH", "password_hash hash", also="PASSWORD", en="password hash|hash")
def password_hash(rng, _):
    crypt = "./" + BASE62
    return Value(
        (
            rng.choice(
                (
                    f"$2b$12${of(rng, crypt, 53)}",
                    f"$6${of(rng, crypt, 16)}${of(rng, crypt, 86)}",
                    f"$apr1${of(rng, crypt, 8)}${of(rng, crypt, 22)}",
                    "$argon2id$v=19$m=65536,t=3,p=4$" + of(rng, BASE62, 22) + "$" + of(rng, BASE62, 43),
                )
            ),
        )
    )


@secret("SESSION_COOKIE", "Cookie cookie", "always", also="COOKIE AUTHORIZATION", en="Cookie|Set-Cookie")
def session_cookie(rng, _):
    name = rng.choice("sessionid JSESSIONID connect.sid PHPSESSID session_token".split())
    return Value((of(rng, BASE62, rng.choice((26, 32, 64))),), before=f"{name}=", after="; Path=/; HttpOnly")
