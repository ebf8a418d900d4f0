"""What the generator says of its documents, and what the scorer makes of answers that are known."""

import json
import unittest

import generate
from score import score, wilson


class Documents(unittest.TestCase):
    def test_spans_lie_in_the_text_and_do_not_overlap(self):
        for document in generate.documents(3000, 5):
            spans = sorted((span["start"], span["end"]) for span in document["spans"] + document["lookalikes"])
            self.assertTrue(all(0 <= start < end <= len(document["text"]) for start, end in spans))
            self.assertTrue(all(first[1] <= second[0] for first, second in zip(spans, spans[1:])))
            self.assertFalse(any(0xE000 <= ord(character) < 0xF000 for character in document["text"]), "no mark is left")

    def test_json_is_json_and_its_values_are_whole(self):
        for document in generate.documents(3000, 6):
            if document["place"] in ("json", "nested json", "escaped json"):
                json.loads(document["text"])


class Scores(unittest.TestCase):
    def setUp(self):
        self.documents = list(generate.documents(500, 7))

    def exact(self):
        return [[{"start": s["start"], "end": s["end"], "type": s["type"]} for s in one["spans"]] for one in self.documents]

    def test_what_is_exact_is_all_right(self):
        figures = score(self.documents, self.exact()).whole()
        self.assertEqual(figures["groups"]["all"]["recall"]["share"], 1)
        self.assertEqual(figures["groups"]["all"]["precision"]["share"], 1)
        self.assertEqual(figures["groups"]["all"]["leaked_characters"]["share"], 0)
        self.assertEqual(figures["lookalikes_replaced"]["share"], 0)

    def test_a_character_that_is_left_is_a_miss(self):
        cut = [[{**span, "end": span["end"] - 1} for span in spans] for spans in self.exact()]
        figures = score(self.documents, cut).whole()["groups"]["all"]
        self.assertEqual(figures["recall"]["share"], 0)
        self.assertEqual(figures["leaked_characters"]["good"], figures["recall"]["of"])

    def test_replacing_everything_finds_all_and_is_wrong(self):
        whole = [[{"start": 0, "end": len(one["text"]), "type": "EMAIL"}] for one in self.documents]
        figures = score(self.documents, whole).whole()
        self.assertEqual(figures["groups"]["all"]["recall"]["share"], 1)
        self.assertLess(figures["groups"]["all"]["precision"]["share"], 0.5)
        self.assertEqual(figures["lookalikes_replaced"]["share"], 1)

    def test_replacing_nothing_finds_nothing(self):
        figures = score(self.documents, [[] for _ in self.documents]).whole()["groups"]["all"]
        self.assertEqual((figures["recall"]["share"], figures["leaked_characters"]["share"]), (0, 1))

    def test_intervals_hold_the_share(self):
        low, high = wilson(95, 100)
        self.assertAlmostEqual(low, 0.8882, places=4)
        self.assertAlmostEqual(high, 0.9785, places=4)


if __name__ == "__main__":
    unittest.main()
