"""Presidio's pattern recognizers over documents: reads JSONL of documents, writes one line of predictions for each, and last a
line with what was run and how long it took. No model of a language is loaded: words are cut by spaCy's rules for English, and
serve as their own lemmas, so that words of context count."""

import inspect
import json
import sys
import time

import presidio_analyzer
import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, LocalRecognizer, PatternRecognizer, RecognizerRegistry, predefined_recognizers
from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine

# What it finds and nobody calls sensitive by itself.
NOT_ASKED = {"DATE_TIME", "URL"}


class Words(SpacyNlpEngine):
    """Words alone, where a language's model would be."""

    def __init__(self):
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}

    def load(self):
        """There is nothing to load."""

    def process_text(self, text, language):
        tokens = self.nlp[language](text)
        return NlpArtifacts(
            entities=[],
            tokens=tokens,
            tokens_indices=[token.idx for token in tokens],
            lemmas=[token.lower_ for token in tokens],
            nlp_engine=self,
            language=language,
            scores=[],
        )


def recognizers():
    """Every recognizer that goes by patterns, and the one of telephone numbers; those of other languages take part as if they
    were English, since one text has values of many countries."""
    chosen = []
    for name, kind in sorted(vars(predefined_recognizers).items()):
        if (
            not inspect.isclass(kind)
            or not (issubclass(kind, PatternRecognizer) or name == "PhoneRecognizer")
            or not issubclass(kind, LocalRecognizer)
        ):
            continue
        one = kind(supported_language="en")
        if not NOT_ASKED & set(one.supported_entities):
            chosen.append(one)
    return chosen


def main():
    # The list of public suffixes that it was packed with: nothing is fetched.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    chosen = recognizers()
    engine = AnalyzerEngine(registry=RecognizerRegistry(chosen), nlp_engine=Words(), supported_languages=["en"])
    texts = [json.loads(line)["text"] for line in sys.stdin]
    engine.analyze("warm 4111 1111 1111 1111", language="en")
    answers, started = [], time.process_time()
    for text in texts:
        answers.append(engine.analyze(text, language="en", score_threshold=0.0))
    took = time.process_time() - started
    for found in answers:
        print(
            json.dumps(
                [{"start": one.start, "end": one.end, "type": one.entity_type, "score": round(one.score, 3)} for one in found]
            )
        )
    entities = sorted({entity for one in chosen for entity in one.supported_entities})
    version = getattr(presidio_analyzer, "__version__", None) or __import__("importlib.metadata").metadata.version(
        "presidio-analyzer"
    )
    print(
        json.dumps(
            {
                "version": version,
                "recognizers": len(chosen),
                "entities": entities,
                "cpu_seconds": took,
                "bytes": sum(len(text.encode()) for text in texts),
            }
        )
    )


if __name__ == "__main__":
    main()
