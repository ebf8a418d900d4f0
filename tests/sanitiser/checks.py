"""Check digits, from the published rules of each number. Nothing here is shared with the product: the documents that are made
with these are to show what the product's own arithmetic gets wrong."""


def weighted(digits, weights):
    return sum(int(digit) * weight for digit, weight in zip(digits, weights))


def luhn(digits):
    """ISO/IEC 7812-1, annex B: the digit that comes behind `digits`."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled // 10 + doubled % 10
    return str(-total % 10)


def verhoeff(digits):
    """Verhoeff 1969: multiplication in the dihedral group D5, and the powers of one permutation."""

    def times(a, b):
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b - 5) % 5
        return 5 + (a - 5 - b) % 5 if b < 5 else (a - b) % 5

    def permuted(power, digit):
        for _ in range(power % 8):
            digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
        return digit

    state = 0
    for place, digit in enumerate(reversed(digits)):
        state = times(state, permuted(place + 1, int(digit)))
    return str(next(inverse for inverse in range(10) if times(state, inverse) == 0))


def iso7064_11_10(digits):
    """ISO/IEC 7064, MOD 11,10."""
    product = 10
    for digit in digits:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return str((11 - product) % 10)


def iso7064_11_2(digits):
    """ISO/IEC 7064, MOD 11-2: a digit or X."""
    total = sum(int(digit) * pow(2, len(digits) - place, 11) for place, digit in enumerate(digits))
    return "0123456789X"[(12 - total) % 11]


def base36(text):
    """Digits and letters as ISO 13616 and ISO 7064 MOD 97-10 read them: A is 10."""
    return int("".join(str(int(character, 36)) for character in text))


def iban(country, account):
    check = 98 - base36(account + country + "00") % 97
    return f"{country}{check:02}{account}"


def ean13(digits):
    return str(-weighted(digits, (1, 3) * 6) % 10)


def mrz(text):
    """ICAO 9303-3: weights 7, 3, 1."""
    return str(sum(int(c, 36) * (7, 3, 1)[place % 3] for place, c in enumerate(text.replace("<", "0"))) % 10)


def fiscal_code(fifteen):
    """Italy, DM 23/12/1976: characters at odd places have values of their own."""
    # Table II of the decree, turned round: the letter at index n has the value n.
    values = {letter: value for value, letter in enumerate("BAKPLCQDREVOSFTGUHMINJWZYX")}
    total = 0
    for place, character in enumerate(fifteen, 1):
        number = int(character) if character.isdigit() else ord(character) - ord("A")
        if place % 2:
            # A and 0, B and 1 … have the same value at odd places.
            total += values[chr(ord("A") + number)]
        else:
            total += number
    return chr(ord("A") + total % 26)


def german_pension(eleven):
    """Versicherungsnummer, VKVV § 4: the letter counts as two digits, and digits of products are summed."""
    digits = eleven[:8] + f"{ord(eleven[8]) - 64:02}" + eleven[9:]
    products = (int(d) * w for d, w in zip(digits, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)))
    return str(sum(p // 10 + p % 10 for p in products) % 10)


def curp(seventeen):
    alphabet = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    return str(-sum(alphabet.index(c) * (18 - place) for place, c in enumerate(seventeen)) % 10)


def rfc(twelve):
    alphabet = "0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ Ñ"
    rest = sum(alphabet.index(c) * (13 - place) for place, c in enumerate(twelve)) % 11
    return "0" if rest == 0 else "A" if rest == 1 else str(11 - rest)


def gstin(fourteen):
    total = 0
    for place, character in enumerate(fourteen):
        product = int(character, 36) * (1 + place % 2)
        total += product // 36 + product % 36
    return "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[-total % 36]


def vin(text):
    """49 CFR 565.15: the ninth character, from the other sixteen (`text` has anything at its place)."""
    values = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ", (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9)))
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    rest = sum((int(c) if c.isdigit() else values[c]) * w for c, w in zip(text, weights)) % 11
    return "0123456789X"[rest]


BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58check(payload):
    import hashlib

    body = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(body, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = BASE58[rest] + text
    return "1" * (len(body) - len(body.lstrip(b"\0"))) + text


def bech32(prefix, values, constant=1):
    """BIP 173, and BIP 350 with `constant` 0x2bc830a3: `values` are five bits each."""

    def polymod(items):
        state = 1
        for item in items:
            top = state >> 25
            state = (state & 0x1FFFFFF) << 5 ^ item
            for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                state ^= generator if top >> bit & 1 else 0
        return state

    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    state = polymod(expanded + values + [0] * 6) ^ constant
    check = [state >> 5 * (5 - place) & 31 for place in range(6)]
    return prefix + "1" + "".join("qpzry9x8gf2tvdw0s3jn54khce6mua7l"[value] for value in values + check)


def keccak256(data):
    """Keccak as Ethereum uses it: the padding of before FIPS 202."""
    mask = (1 << 64) - 1
    rate = 136

    def rotated(word, by):
        return (word << by | word >> 64 - by) & mask if by else word

    def permute(lanes):
        register = 1
        for _ in range(24):
            columns = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
            mix = [columns[(x + 4) % 5] ^ rotated(columns[(x + 1) % 5], 1) for x in range(5)]
            lanes = [[lanes[x][y] ^ mix[x] for y in range(5)] for x in range(5)]
            x, y, current = 1, 0, lanes[1][0]
            for step in range(24):
                x, y = y, (2 * x + 3 * y) % 5
                current, lanes[x][y] = lanes[x][y], rotated(current, (step + 1) * (step + 2) // 2 % 64)
            for y in range(5):
                row = [lanes[x][y] for x in range(5)]
                for x in range(5):
                    lanes[x][y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5])
            for bit in range(7):
                register = (register << 1 ^ (register >> 7) * 0x71) % 256
                if register & 2:
                    lanes[0][0] ^= 1 << (1 << bit) - 1
        return lanes

    padded = bytearray(data + b"\x01" + b"\0" * (-(len(data) + 1) % rate))
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for block in range(0, len(padded), rate):
        for place in range(rate // 8):
            at = block + 8 * place
            lanes[place % 5][place // 5] ^= int.from_bytes(padded[at : at + 8], "little")
        lanes = permute(lanes)
    return b"".join(lanes[place % 5][place // 5].to_bytes(8, "little") for place in range(4))


def eip55(address):
    """The capitals of an Ethereum address: `address` is forty digits of hexadecimal in small letters."""
    digest = keccak256(address.encode()).hex()
    return "0x" + "".join(c.upper() if int(digest[place], 16) > 7 else c for place, c in enumerate(address))
