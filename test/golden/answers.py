"""Exact match and F1 by SQuAD's published definition, for test/golden/answers.jsonl: awkward predictions and their scores.

Chinese by character: a Han character is a word, and text with Han characters loses all punctuation.

  python3 test/golden/answers.py > test/golden/answers.jsonl
"""
import collections
import json
import string
import unicodedata

CASES = [
    ("The Denver Broncos", ["Denver Broncos"], "articles"),
    ("a an the", ["The"], "only articles"),
    ("an", ["an apple"], "only an article given"),
    ("theory of a thing", ["theory thing"], "articles inside words stay"),
    ("The The band", ["band"], "twice the article"),
    ("A-Team", ["A Team", "Team"], "punctuation goes before articles: a-team is one word"),
    ("a.m.", ["am"], "dots"),
    ("U.S.", ["US", "United States"], "an abbreviation"),
    ("$12", ["nearly $12", "12"], "a sign"),
    ("1,000,000", ["1000000"], "commas in numbers"),
    ("“Hello”", ["Hello"], "curly quotes are not ASCII: they stay"),
    ("\"Hello\"", ["Hello"], "straight quotes go"),
    ("rock ’n’ roll", ["rock 'n' roll"], "two apostrophes"),
    ("10–20", ["10-20"], "an en dash stays"),
    ("10 °C", ["10 C"], "a degree sign stays"),
    ("café", ["Café"], "an accent"),
    ("the café", ["cafe"], "an accent that is missing"),
    ("thé", ["th"], "an article's letters before an accent"),
    ("über a", ["UBER"], "umlaut"),
    ("  two   words\t\n", ["two words"], "white space"),
    ("two\u00a0words", ["two words"], "a hard space"),
    ("to be to be", ["to be"], "repeated words count once each"),
    ("be to be", ["to be or not to be"], "repetition on both sides"),
    ("Denver Broncos team", ["Broncos", "Denver Broncos"], "several answers, the best one"),
    ("Carolina", ["Denver", "Broncos"], "several, none right"),
    ("", ["something"], "empty"),
    ("", [], "unanswerable, nothing said"),
    ("something", [], "unanswerable, something said"),
    ("", [""], "an empty right answer"),
    ("the", [], "an article for nothing"),
    ("...", [], "punctuation for nothing"),
    ("", ["the", "!"], "right answers that are nothing"),
    ("x", ["the", "x"], "one right answer is nothing and is dropped"),
    ("", ["the", "x"], "nothing, where one right answer is nothing"),
    ("北京", ["北京"], "Chinese"),
    ("北京市", ["北京"], "Chinese by character"),
    ("《山中归路》、《古榕》", ["山中归路，古榕"], "Chinese punctuation"),
    ("1887年", ["1887年。"], "a year"),
    ("光荣和ω-force", ["光荣和ω-Force"], "Chinese and Latin"),
    ("光荣 和 ω-force", ["光荣和ω-force"], "spaces in Chinese"),
    ("a北京", ["北京"], "an article at a Han character is none"),
    ("二〇〇八", ["2008"], "numerals"),
    ("snake_case", ["snakecase", "snake case"], "an underscore is punctuation"),
    ("C++", ["C"], "signs at the end"),
    ("{[the]}", ["the"], "brackets"),
]

WORD = lambda c: c.isalnum() or c == "_"


def is_han(c):
    return "CJK" in unicodedata.name(c, "") and unicodedata.category(c) == "Lo" or c == "〇"


def normalise(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    if any(map(is_han, text)):
        text = "".join(c for c in text if unicodedata.category(c)[0] not in "PS")
    kept, run = [], ""
    for c in text + " ":
        if WORD(c):
            run += c
            continue
        kept.append(("" if run in ("a", "an", "the") else run) + c)
        run = ""
    return " ".join("".join(kept).split())


def words(text):
    return "".join(f" {c} " if is_han(c) else c for c in text).split()


def f1(answer, right):
    answer, right = words(answer), words(right)
    if not answer or not right:
        return float(answer == right)
    common = sum((collections.Counter(answer) & collections.Counter(right)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(answer), common / len(right)
    return 2 * precision * recall / (precision + recall)


for answer, right, why in CASES:
    gold = [normalise(one) for one in right if normalise(one)] or [""]
    exact = float(any(normalise(answer) == one for one in gold))
    print(json.dumps({"why": why, "answer": answer, "right": right, "exact": exact,
                      "f1": max(f1(normalise(answer), one) for one in gold)}, ensure_ascii=False))
