from __future__ import annotations

from pathlib import Path

import pytest

from kgrec.media.languages import CERTAIN, LEAST_BYTES, certain_language, contradicts, detect
from kgrec.media.texts import read_text_source

PLOTS = {
    "en": "A young woman leaves her village to look for her brother, and finds a town that has forgotten its own name and past.",
    "de": "Eine junge Frau verlässt ihr Dorf, um ihren Bruder zu suchen, und findet eine Stadt, die ihren Namen vergessen hat.",
    "fr": "Une jeune femme quitte son village à la recherche de son frère et trouve une ville qui a oublié jusqu'à son nom.",
    "es": "Una joven deja su pueblo para buscar a su hermano y encuentra una ciudad que ha olvidado su propio nombre y pasado.",
    "it": "Una giovane donna lascia il suo villaggio per cercare il fratello e trova una città che ha dimenticato il suo nome.",
    "nl": "Een jonge vrouw verlaat haar dorp om haar broer te zoeken en vindt een stad die haar eigen naam vergeten is geraakt.",
    "pl": "Młoda kobieta opuszcza swoją wioskę, aby odnaleźć brata, i trafia do miasta, które zapomniało własnej nazwy i historii.",
    "ru": "Молодая женщина покидает деревню, чтобы найти брата, и попадает в город, который забыл собственное имя.",
    "el": "Μια νεαρή γυναίκα αφήνει το χωριό της για να βρει τον αδελφό της και φτάνει σε μια πόλη χωρίς όνομα.",
    "ja": "若い女性が兄を探すために村を離れ、自分の名前を忘れてしまった町にたどり着く。そこで彼女は過去と向き合う。",
    "zh": "一位年轻女子离开村庄去寻找她的哥哥，来到一座忘记了自己名字的小镇，在那里她必须面对过去。",
    "ko": "젊은 여성이 오빠를 찾기 위해 마을을 떠나 자신의 이름을 잊어버린 도시에 도착하고 과거와 마주한다.",
}


@pytest.mark.parametrize("lang", PLOTS)
def test_a_plot_of_one_sentence_is_certain(lang: str) -> None:
    [(found, probability)] = detect([PLOTS[lang]])
    assert found == lang
    assert CERTAIN <= probability <= 1
    assert certain_language(PLOTS[lang]) == lang


def test_one_answer_for_each_text_whatever_stands_beside_it() -> None:
    assert [lang for lang, _ in detect([*PLOTS.values()])] == [*PLOTS]
    assert detect([PLOTS["fr"], "", PLOTS["de"]]) == [*detect([PLOTS["fr"]]), ("", 0.0), *detect([PLOTS["de"]])]
    assert detect([]) == []


def test_short_texts_and_names_are_not_judged() -> None:
    assert certain_language("La vie est belle") is None
    assert certain_language("") is None
    cut = PLOTS["fr"].encode()[: LEAST_BYTES - 1].decode("utf-8", "ignore")
    assert certain_language(cut) is None
    assert certain_language("1234567890 " * 30) is None


def test_what_contradicts_what() -> None:
    assert contradicts("en", "fr")
    assert contradicts("en-GB", "de")
    assert not contradicts("EN", "en")
    assert not contradicts("pt_BR", "pt")
    assert not contradicts("eng", "fr")  # a code of three letters is not judged
    assert not contradicts("no", "nb")
    assert not contradicts("hr", "sr")


def test_the_languages_of_the_real_plots(real_data: Path) -> None:
    found = {}
    for name in ("movies_extrainfos.dat.gz", "dbpedia_abstracts.json.gz"):
        source = read_text_source(real_data / "imdb-ml-1m" / name)
        assert source is not None
        found[name] = [certain_language(text) for text, _ in source.texts.values()]
    plots, abstracts = found.values()
    assert sorted({*plots} - {None}) == ["en", "fr", "nl"]
    assert plots.count("fr") == plots.count("nl") == 1
    assert plots.count(None) < 0.01 * len(plots)
    # the one abstract that quotes a long Georgian title
    assert [lang for lang in abstracts if lang not in ("en", None)] == ["ka"]
