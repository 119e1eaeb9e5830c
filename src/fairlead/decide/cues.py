"""Words that tell what a request is about and how hard it is. Data only: no code that reads it.

Points are small integers, so that sums do not depend on the order in which words are found.
"""

from collections.abc import Mapping

from msgspec import Struct

from fairlead.types.decision import TaskKind


class Cue(Struct, frozen=True):
    """What a word says: ``points`` for ``kind``, and ``hard`` points of difficulty."""

    kind: TaskKind | None
    points: int
    hard: int


# Words and signs that stand alone in source code and seldom in prose.
SOURCE = frozenset(
    [
        *("def", "elif", "const", "#include", "println", "return", "self", "null", "<div>"),
        *("{}", "{", "}", "};", "=>", "==", "!=", "+=", "->", "&&", "||", "//", "/*", "*/"),
    ]
)

# The whole task in a word: 3. A strong hint: 2. A hint: 1. English first, then German, French,
# Spanish; a word that means something else in another of them is left out (resume, once, son).
_KINDS: Mapping[TaskKind, Mapping[int, str]] = {
    "chat": {
        2: "hi hello hey thanks hallo danke bonjour merci hola gracias",
    },
    "extract": {
        3: "extract extraction parse extrahiere extrahieren extraire extrais extrae extraer",
        2: "scrape fields entities",
        1: "find list invoice receipt field values json csv rechnung facture factura",
    },
    "classify": {
        3: "classify categorize categorise classification sentiment klassifiziere klassifizieren"
        " classifie classer clasifica clasificar",
        2: "label labels category categories triage spam",
        1: "positive negative neutral intent yes/no tag",
    },
    "summarise": {
        3: "summarise summarize tl;dr tldr recap condense summarising summarizing zusammenfassen"
        " zusammenfassung fasse résume résumer résumé resumir resumen resúmelo",
        2: "summary overview digest gist shorten abstract minutes",
        1: "brief bullets highlights",
    },
    "draft": {
        3: "draft rewrite rephrase paraphrase compose proofread formuliere rédige rédiger redacta",
        2: "email e-mail essay letter blog article poem story tweet slogan headline schreibe"
        " écris escribe",
        1: "write tone polite reply caption",
    },
    "translate": {
        3: "translate translation übersetze übersetzen übersetzung traduis traduire traduction"
        " traduce traducir traducción",
        1: "english german french spanish deutsch englisch français anglais inglés español"
        " chinese japanese italian portuguese",
    },
    "code": {
        3: "refactor debug compile unittest pytest programmiere",
        2: "python javascript typescript rust golang java kotlin c++ c# sql regex bash shell html"
        " css react dockerfile kubernetes traceback segfault stacktrace exception",
        1: "code function class method bug api endpoint implement library variable compiler"
        " repository commit test tests script query stack fix fonction función funktion",
    },
    "mathematics": {
        3: "integral derivative theorem eigenvalue eigenvalues polynomial beweise démontre"
        " demuestra",
        2: "prove proof solve equation equations calculate compute probability matrix modulo"
        " geometry algebra berechne calcule calcula",
        1: "sum product percent average divided triangle integer prime",
    },
    "reason": {
        3: "analyse analyze diagnose deduce infer analysiere",
        2: "why evaluate assess critique compare justify hypothesis implications puzzle riddle"
        " warum pourquoi porqué erkläre begründe compara",
        1: "explain argue argument cause reason because if logically paradox consider",
    },
    "plan": {
        3: "roadmap planifie planifier planifica planificar",
        2: "plan planning strategy architecture design milestones itinerary migration",
        1: "organise organize steps prioritise prioritize schedule goals phases",
    },
}

# What makes a task hard whatever it is about.
_HARD: Mapping[int, str] = {
    3: "prove proof theorem derive concurrency deadlock beweise démontre demuestra",
    2: "architecture trade-off trade-offs tradeoff tradeoffs rigorous rigorously optimal optimise"
    " optimize distributed consistency cryptographic asymptotic formally diagnose eigenvalue"
    " eigenvalues consensus scalability",
    1: "analyse analyze why design evaluate critique integral derivative debug refactor strategy"
    " implications carefully thoroughly comprehensive edge complex multi-step"
    " research migration hypothesis",
    -1: "simple simply quick quickly short briefly easy hi hello thanks",
}

# Conditions put on the answer: each makes it a little harder to get right.
LIMITS = frozenset(
    [
        *("must", "only", "exactly", "never", "without", "at-least", "at-most", "unless"),
        *("except", "ensure", "strictly", "required", "nur", "genau", "ohne"),
        *("seulement", "exactement", "sans", "solo", "exactamente", "sin"),
    ]
)


class Phrase(Struct, frozen=True):
    """Several words that say more together. Looked for only when its first word was found."""

    text: str
    cue: Cue


PHRASES: Mapping[str, tuple[Phrase, ...]] = {
    "root": (Phrase("root cause", Cue("reason", 3, 2)),),
    "step": (Phrase("step by step", Cue("reason", 2, 1)),),
    "trade": (Phrase("trade off", Cue("reason", 2, 2)),),
    "pros": (Phrase("pros and cons", Cue("reason", 3, 1)),),
    "race": (Phrase("race condition", Cue("code", 3, 3)),),
    "unit": (Phrase("unit test", Cue("code", 3, 0)),),
    "key": (Phrase("key points", Cue("summarise", 3, 0)),),
    "main": (Phrase("main points", Cue("summarise", 3, 0)),),
    "action": (Phrase("action items", Cue("extract", 3, 0)),),
    "which": (Phrase("which of the following", Cue("classify", 3, 0)),),
    "true": (Phrase("true or false", Cue("classify", 3, 0)),),
    "how": (Phrase("how many", Cue("mathematics", 2, 0)),),
    "time": (Phrase("time complexity", Cue("code", 2, 2)),),
    "given": (Phrase("given that", Cue("reason", 1, 1)),),
    "bring": (Phrase("bring auf den punkt", Cue("summarise", 3, 0)),),
    "schritt": (Phrase("schritt für schritt", Cue("reason", 2, 1)),),
    "étape": (Phrase("étape par étape", Cue("reason", 2, 1)),),
    "paso": (Phrase("paso a paso", Cue("reason", 2, 1)),),
}


def _table() -> dict[str, Cue]:
    hard = {word: points for points, words in _HARD.items() for word in words.split()}
    table = {word: Cue(None, 0, points) for word, points in hard.items()}
    table |= {word: Cue("code", 1, 0) for word in SOURCE}
    for kind, groups in _KINDS.items():
        for points, words in groups.items():
            table |= {word: Cue(kind, points, hard.get(word, 0)) for word in words.split()}
    return table


CUES: Mapping[str, Cue] = _table()
WORDS = frozenset(CUES) | LIMITS | frozenset(PHRASES)
"""Every word worth noticing, for one intersection with the words of a text."""
