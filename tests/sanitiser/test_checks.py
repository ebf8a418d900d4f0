"""The arithmetic of checks.py and of the values, against numbers that their authorities publish as examples."""

import random
import unittest

import checks
import kinds


class Checks(unittest.TestCase):
    def test_published_examples(self):
        self.assertEqual(checks.luhn("7992739871"), "3")
        self.assertEqual(checks.verhoeff("236"), "3")
        self.assertEqual(checks.iso7064_11_10("8609574271"), "9")
        self.assertEqual(checks.iso7064_11_2("11010519491231002"), "X")
        self.assertEqual(checks.iban("DE", "370400440532013000"), "DE89370400440532013000")
        self.assertEqual(checks.ean13("756921707698"), "5")
        self.assertEqual(checks.ean13("400638133393"), "1")
        self.assertEqual(checks.mrz("L898902C3"), "6")
        self.assertEqual(checks.fiscal_code("RSSMRA85T10A562"), "S")
        self.assertEqual(checks.german_pension("15070649C10"), "3")
        self.assertEqual(checks.gstin("27AAPFU0939F1Z"), "V")
        self.assertEqual(checks.vin("1M8GDM9A_KP042788".replace("_", "0")), "X")
        self.assertEqual(
            checks.base58check(bytes.fromhex("0062e907b15cbf27d5425399ebf6f0fb50ebb88f18")), "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
        )
        self.assertEqual(checks.eip55("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"), "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")

    def test_bech32_example_of_bip_173(self):
        program = bytes.fromhex("751e76e8199196d454941c45d1b3a323f1433bd6")
        number = int.from_bytes(program, "big")
        values = [0] + [number >> 5 * (31 - place) & 31 for place in range(32)]
        self.assertEqual(checks.bech32("bc", values), "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")

    def test_every_kind_is_made_and_the_same_seed_makes_the_same(self):
        for name, kind in kinds.KINDS.items():
            for seed in range(20):
                first, second = (kind.make(random.Random(seed), kind.locales[0]) for _ in range(2))
                self.assertEqual(first, second, name)
                self.assertTrue("".join(first.groups).strip(), name)


if __name__ == "__main__":
    unittest.main()
