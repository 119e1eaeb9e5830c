"""Words that tell what a request is about and how hard it is. Data only: no code that reads it.

Points are small integers, so that sums do not depend on the order in which words are found.
"""

from collections.abc import Mapping

from msgspec import Struct

from fairlead.types.decision import TaskKind


class Cue(Struct, frozen=True):
    """What a word or phrase says: ``points`` for ``kind``, ``hard`` points of difficulty."""

    word: str
    kind: TaskKind | None
    points: int
    hard: int = 0
    limits: int = 0
    """1 for a condition on the answer."""
    signs_of_code: int = 0
    phrases: tuple["Cue", ...] = ()
    """Phrases that begin with the word: looked for only when it was found."""


CODE_BLOCK = Cue("code block", "code", 4, signs_of_code=3)
BRACE = Cue("{", None, 0, signs_of_code=3)
FORMATTED = Cue("a JSON answer", "extract", 3)
"""What is seen otherwise than by its words."""

# Words and signs that stand alone in source code and seldom in prose.
_SOURCE = frozenset(
    [
        *("def", "elif", "const", "#include", "println", "return", "self", "null", "<div>"),
        *("{}", "{", "}", "};", "=>", "==", "!=", "+=", "->", "&&", "||", "//", "/*", "*/"),
    ]
)

# The whole task in a word: 3. A strong hint: 2. A hint: 1. English first, then German, French,
# Spanish; a word that means something else in another of them is left out (resume, once, son).
KINDS: Mapping[TaskKind, Mapping[int, str]] = {
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
        2: "evaluate assess critique compare justify hypothesis implications puzzle riddle"
        " begründe compara",
        1: "why warum pourquoi porqué argue argument cause reason because if logically paradox"
        " consider",
    },
    "plan": {
        3: "roadmap planifie planifier planifica planificar",
        2: "plan planning strategy architecture design milestones itinerary migration",
        1: "organise organize steps prioritise prioritize schedule goals phases",
    },
}

# What makes a task hard whatever it is about.
_HARD: Mapping[str, int] = {
    word: points
    for points, words in {
        3: "prove proof theorem derive concurrency deadlock beweise démontre demuestra",
        2: "architecture trade-off trade-offs tradeoff tradeoffs rigorous rigorously optimal"
        " optimise optimize distributed consistency cryptographic asymptotic formally diagnose"
        " eigenvalue eigenvalues consensus scalability",
        1: "analyse analyze why design evaluate critique integral derivative debug refactor"
        " strategy implications carefully thoroughly comprehensive edge complex multi-step"
        " research migration hypothesis",
        -1: "simple simply quick quickly short briefly easy hi hello thanks",
    }.items()
    for word in words.split()
}

# Conditions put on the answer: each makes it a little harder to get right.
_LIMITS = frozenset(
    [
        *("must", "only", "exactly", "never", "without", "at-least", "at-most", "unless"),
        *("except", "ensure", "strictly", "required", "nur", "genau", "ohne"),
        *("seulement", "exactement", "sans", "solo", "exactamente", "sin"),
    ]
)


_PHRASES = (
    Cue("root cause", "reason", 3, 2),
    Cue("step by step", "reason", 2, 1),
    Cue("trade off", "reason", 2, 2),
    Cue("pros and cons", "reason", 3, 1),
    Cue("given that", "reason", 1, 1),
    Cue("race condition", "code", 3, 3),
    Cue("time complexity", "code", 2, 2),
    Cue("unit test", "code", 3, 0),
    Cue("key points", "summarise", 3, 0),
    Cue("main points", "summarise", 3, 0),
    Cue("action items", "extract", 3, 0),
    Cue("which of the following", "classify", 3, 0),
    Cue("true or false", "classify", 3, 0),
    Cue("how many", "mathematics", 2, 0),
    Cue("schritt für schritt", "reason", 2, 1),
    Cue("étape par étape", "reason", 2, 1),
    Cue("paso a paso", "reason", 2, 1),
)


def _cue(word: str, kind: TaskKind | None, points: int) -> Cue:
    return Cue(
        word,
        kind,
        points,
        hard=_HARD.get(word, 0),
        limits=int(word in _LIMITS),
        signs_of_code=int(word in _SOURCE),
        phrases=tuple(phrase for phrase in _PHRASES if phrase.word.split()[0] == word),
    )


def _table() -> dict[str, Cue]:
    heads = {phrase.word.split()[0] for phrase in _PHRASES}
    table = {word: _cue(word, None, 0) for word in (*_HARD, *_LIMITS, *heads)}
    table |= {word: _cue(word, "code", 1) for word in _SOURCE}
    for kind, groups in KINDS.items():
        for points, words in groups.items():
            table |= {word: _cue(word, kind, points) for word in words.split()}
    # Entries for what ends a sentence cost less than taking every text's punctuation off.
    return {word + mark: cue for word, cue in table.items() for mark in ("", *".,:;?!")}


CUES: Mapping[str, Cue] = _table()
WORDS = frozenset(CUES)
"""Every word worth noticing, for one intersection with the words of a text."""
