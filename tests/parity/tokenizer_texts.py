"""Fuzzed strings for the tokenizer parity tests: words of the vocabulary, Unicode blocks, combining marks,
joiners, right-to-left text, damaged bytes, very long words, soups of added tokens."""

import random

BLOCKS = [
    (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF),
    (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F),
    (0x2070, 0x218F), (0x2190, 0x27BF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
    (0xE000, 0xE0FF), (0xFB00, 0xFDFF), (0xFE00, 0xFFFD), (0x10000, 0x107FF), (0x1D400, 0x1D7FF),
    (0x1F000, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0000, 0xE01EF), (0x10D40, 0x10D90),
    (0x31350, 0x323AF), (0x11DE0, 0x11DE9), (0x16FF4, 0x16FF6), (0x1CCF0, 0x1CCF9),
]  # fmt: skip
SPACES = " \t\n\r\v\f\x85\xa0\u1680\u180e\u2003\u200a\u2028\u2029\u202f\u205f\u3000\u200b\ufeff\u2581\u0120"
TAILS = "'s 't 're 've 'm 'll 'd 'S 'LL 'Re '\u017f ' '' 'x \u2019s".split(" ")
EMOJI = ["\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "\u2764\ufe0f",
         "\U0001f1e9\U0001f1ea", "\U0001f3f4\U000e0067\U000e007f", "\U0001f9d1\u200d\U0001f680"]  # fmt: skip
RIGHT_TO_LEFT = ["\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd", "\u202e", "\u200f"]
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.", "Die Stra\u00dfe ist 1,234.56 km lang!", "def f(x):\n    return x**2\n",
    "\u0421\u044a\u0435\u0448\u044c \u0435\u0449\u0451", "\u4eca\u65e5\u306f\u3001\u4e16\u754c\u3002", "https://example.org/a?b=c&d=%20",
    "{\"key\": [1, 2.5e-3, null]}", "I'd've done it, wouldn't you?", "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4",
    "WordsInCamelCase and snake_case_words", "  indented\t\ttabs   and    spaces  ", "do not .  ?  !  n't 's",
]  # fmt: skip


class Generator:
    """Random strings of many kinds; bytes that are no UTF-8 are given as bytes.

    `words` are tokens of the vocabulary as bytes or text, `added` the contents of its added tokens."""

    def __init__(self, words, added, seed):
        self.rng = random.Random(seed)
        self.words = words
        self.added = list(added) or ["<none>"]
        self.kinds = [self.word, self.block, self.spaces, self.number, self.tail, self.emoji, self.token,
                      self.marks, self.rtl, self.sentence]  # fmt: skip

    def word(self):
        word = self.rng.choice(self.words)
        return word if isinstance(word, str) else word.decode("utf-8", "replace")

    def block(self):
        low, high = self.rng.choice(BLOCKS)
        return "".join(chr(self.rng.randint(low, high)) for _ in range(self.rng.randint(1, 6)))

    def spaces(self):
        pool = SPACES if self.rng.random() < 0.4 else " \n\t\r"
        return "".join(self.rng.choice(pool) for _ in range(self.rng.randint(1, 5)))

    def number(self):
        pool = "0123456789" if self.rng.random() < 0.8 else "0\u0663\u0967\u00bd\u00b2\u2163\U0001d7d9"
        return "".join(self.rng.choice(pool) for _ in range(self.rng.randint(1, 9)))

    def tail(self):
        return self.rng.choice(TAILS)

    def emoji(self):
        return self.rng.choice(EMOJI)

    def marks(self):
        base = self.rng.choice("aeiouAEIOU\u0627\u05d0\u0915\u304b\u30cf\u1112\u1161\uac00")
        pool = "\u0300\u0301\u0308\u0323\u0327\u0345\u064b\u05b8\u093c\u094d\u3099\u309a\u11a8\u200d\u1dfb\u0f71"
        return base + "".join(self.rng.choice(pool) for _ in range(self.rng.randint(1, 4)))

    def rtl(self):
        return self.rng.choice(RIGHT_TO_LEFT)

    def sentence(self):
        text = self.rng.choice(SENTENCES)
        return text if self.rng.random() < 0.7 else text[self.rng.randrange(len(text)) :]

    def token(self):
        token = self.rng.choice(self.added)
        cut = self.rng.random()
        if cut < 0.15:
            return token[: self.rng.randint(1, len(token))]
        return token + " " if cut < 0.25 else (" " + token if cut < 0.35 else token)

    def text(self):
        roll = self.rng.random()
        if roll < 0.08:  # any bytes
            return bytes(self.rng.randrange(256) for _ in range(self.rng.randint(0, 24)))
        if roll < 0.12:  # text with a few bytes damaged
            data = bytearray("".join(self.word() for _ in range(8)).encode() + self.block().encode())
            for _ in range(self.rng.randint(1, 3)):
                data[self.rng.randrange(len(data))] = self.rng.randrange(128, 256)
            return bytes(data)
        if roll < 0.13:  # one long word
            return "".join(self.rng.choice("abcdeinorst") for _ in range(self.rng.randint(50, 400)))
        if roll < 0.18:  # soup of added tokens
            return "".join(self.token() for _ in range(self.rng.randint(1, 6)))
        return "".join(self.rng.choice(self.kinds)() for _ in range(self.rng.randint(1, 10)))

    def texts(self, count):
        return [self.text() for _ in range(count)]


def lossy(data):
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


def request_for(data, **options):
    if isinstance(data, bytes):
        return {"hex": data.hex(), **options}
    return {"text": data, **options}
