"""The words of the demo world: invented names and titles, and a grammar that writes plots about a theme.

A theme is a vocabulary (who, where, what for, with what, against what). The sentence templates are the same for all
themes, so that what sets two plots apart is their words and not their form.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TypeVar

from numpy.random import RandomState

T = TypeVar("T")


def pick(random: RandomState, values: tuple[T, ...] | list[T]) -> T:
    """One of ``values``, each equally likely."""
    return values[int(random.randint(len(values)))]


@dataclass(frozen=True)
class Theme:
    """A vocabulary for plots and the genres that go with it a little more often than others."""

    name: str
    who: tuple[str, ...]
    where: tuple[str, ...]
    goal: tuple[str, ...]
    thing: tuple[str, ...]
    peril: tuple[str, ...]
    genres: tuple[str, ...]


THEMES: tuple[Theme, ...] = (
    Theme(
        "lighthouse",
        ("lighthouse keeper", "ship's pilot", "deep-sea diver", "trawler captain", "harbour master", "young sailor"),
        ("a storm-beaten lighthouse", "a drowned fishing harbour", "the outer reef", "a salt-crusted island",
         "the tidal flats"),
        ("raise a sunken schooner", "light the lamp again", "chart the reef", "tow the wreck home", "outrun the tide"),
        ("a barnacled ship's bell", "a logbook soaked in brine", "a rusted anchor", "a torn sail", "a brass sextant"),
        ("a hurricane rolls in from the open sea", "the tide swallows the causeway", "smugglers cut the mooring lines",
         "the fleet is lost in fog", "the lamp goes dark above the rocks"),
        ("Adventure", "Drama", "Mystery"),
    ),
    Theme(
        "kitchen",
        ("pastry chef", "night-shift baker", "spice merchant", "stubborn cook", "noodle-stall owner", "dishwasher"),
        ("a failing bistro", "a crowded street market", "the palace kitchen", "a village bakery", "a dumpling house"),
        ("win the soup contest", "bake the perfect loaf", "rescue the family recipe", "feed a wedding of five hundred",
         "reopen the restaurant"),
        ("a jar of sourdough", "a copper saucepan", "a forgotten cookbook", "a sack of saffron",
         "a chipped mixing bowl"),
        ("a merciless food critic comes to dinner", "the oven burns down", "a chain restaurant opens next door",
         "the sauce curdles on opening night", "the last of the flour runs out"),
        ("Comedy", "Romance", "Children's"),
    ),
    Theme(
        "orbit",
        ("astronaut", "station engineer", "android pilot", "asteroid miner", "xenobiologist", "cargo-ship navigator"),
        ("a derelict space station", "the far side of the moon", "a colony dome on Mars", "a generation starship",
         "an orbital dockyard"),
        ("repair the oxygen plant", "answer an alien signal", "steer the comet away", "bring the crew home to Earth",
         "restart the fusion drive"),
        ("a cracked helmet", "a cargo of frozen embryos", "a mute maintenance robot", "a broken warp coil",
         "a star map"),
        ("a solar flare disables the ship", "the airlock fails in vacuum", "the computer refuses to wake the crew",
         "the orbit begins to decay", "something answers from beyond Jupiter"),
        ("Sci-Fi", "Action", "Thriller"),
    ),
    Theme(
        "jazz",
        ("trumpet player", "blues singer", "piano tuner", "drummer", "bandleader", "songwriter"),
        ("a smoky basement club", "a recording studio", "the last ballroom in town", "a travelling big band",
         "a conservatory practice room"),
        ("cut one final record", "finish the unfinished song", "keep the band together", "play the great concert hall",
         "find the lost melody"),
        ("a dented saxophone", "a stolen drum kit", "a scratched vinyl record", "a suitcase of sheet music",
         "a cracked cymbal"),
        ("the singer loses her voice", "the club is sold to a record label", "the rhythm section walks out mid-tour",
         "a rival orchestra steals the tune", "the microphone goes dead on the big night"),
        ("Musical", "Drama", "Romance"),
    ),
    Theme(
        "courtroom",
        ("public defender", "retired judge", "court reporter", "idealistic prosecutor", "reluctant juror",
         "legal clerk"),
        ("a provincial courthouse", "the jury room", "the supreme court", "a crooked law firm", "the witness stand"),
        ("overturn a wrongful conviction", "win the appeal", "cross-examine the only witness", "expose the bribed jury",
         "file the last motion in time"),
        ("a forged will", "a sealed indictment", "a missing affidavit", "a box of old case files",
         "a taped confession"),
        ("the star witness recants under oath", "the verdict is leaked to the press", "the judge is found to be bought",
         "the defendant refuses to testify", "the statute of limitations expires at midnight"),
        ("Crime", "Drama", "Thriller"),
    ),
    Theme(
        "icefield",
        ("polar explorer", "sled-dog driver", "glaciologist", "whaling widow", "mountain guide", "radio operator"),
        ("an Antarctic research hut", "a crevassed glacier", "the frozen strait", "a base camp below the summit",
         "the endless tundra"),
        ("reach the pole on foot", "rescue a lost expedition", "drill through the ancient ice",
         "cross the pass before winter",
         "bring the sled dogs back alive"),
        ("a frostbitten map", "a team of huskies", "a frayed climbing rope", "a tin of pemmican",
         "an ice-locked sledge"),
        ("a blizzard buries the camp", "the ice shelf breaks away", "an avalanche closes the only pass",
         "the long polar night begins", "the snow bridge collapses"),
        ("Adventure", "Documentary", "War"),
    ),
    Theme(
        "orchard",
        ("beekeeper", "gardener", "apple farmer", "botanist", "shepherd", "flower seller"),
        ("an overgrown walled garden", "a hillside orchard", "a greenhouse in the valley", "a parched vineyard",
         "a meadow full of hives"),
        ("save the dying bees", "graft the last apple tree", "bring the roses back to bloom",
         "plant a forest on the hill",
         "harvest before the frost"),
        ("a packet of heirloom seeds", "a swarm in a wicker basket", "a rusty pair of shears", "a pressed orchid",
         "a jar of dark honey"),
        ("a drought withers the fields", "blight spreads through the orchard", "locusts darken the sky",
         "a developer fells the oldest oak", "the well runs dry"),
        ("Children's", "Fantasy", "Documentary"),
    ),
    Theme(
        "circus",
        ("trapeze artist", "sad clown", "ringmaster", "lion tamer", "fire-eater", "tightrope walker"),
        ("a threadbare circus tent", "the winter quarters of a carnival", "a travelling sideshow", "the centre ring",
         "a caravan of acrobats"),
        ("perform the triple somersault", "buy back the big top", "tame the last tiger", "walk the wire without a net",
         "save the elephant from sale"),
        ("a sequinned costume", "a frayed trapeze", "a painted caravan wagon", "a magician's trick trunk",
         "a juggler's torch"),
        ("the high wire snaps during the show", "the ringmaster vanishes before the parade", "the tent catches fire",
         "a rival carnival lures away the acrobats", "the audience stops coming"),
        ("Fantasy", "Comedy", "Horror"),
    ),
)  # fmt: skip

_OPENINGS = (
    "A {who} in {where} must {goal} before {peril}.",
    "When {peril}, a {who} and a {who2} set out to {goal}.",
    "{name}, once a celebrated {who}, returns to {where} with {thing} and a plan to {goal}.",
    "Nobody in {where} believes a {who} could {goal}, until {peril}.",
    "A {who} inherits {thing} and leaves everything behind to {goal}.",
    "In {where}, {thing} draws a {who} and a {who2} into a race to {goal}.",
)
_MIDDLES = (
    "With only {thing} to go on, the {who} turns to an old {who2} for help.",
    "Then {peril}, and {name} has to choose between {where} and the chance to {goal}.",
    "What begins with {thing} ends in {where}, where {peril}.",
    "The {who2} wants to {goal}; the {who} only wants {thing} back.",
    "Years ago in {where} they had sworn never to {goal} again.",
    "Word of {thing} spreads through {where}, and soon every {who} wants a share.",
)
_ENDINGS = (
    "By morning nothing in {place} is as it was.",
    "{name} learns what a promise is worth.",
    "An old friendship does not survive the summer.",
    "It is the story everyone in {place} tells differently.",
    "In the end it is {name} who has to decide.",
)


def short_plot(theme: Theme, random: RandomState) -> str:
    """One sentence about ``theme``."""
    return _fill(pick(random, _OPENINGS), theme, random)


def full_plot(theme: Theme, random: RandomState) -> str:
    """Three to five sentences about ``theme``."""
    middles = random.permutation(len(_MIDDLES))[: int(random.randint(1, 4))]
    templates = [pick(random, _OPENINGS), *(_MIDDLES[i] for i in middles), pick(random, _ENDINGS)]
    return " ".join(_fill(template, theme, random) for template in templates)


def _fill(template: str, theme: Theme, random: RandomState) -> str:
    first, second = (theme.who[i] for i in random.permutation(len(theme.who))[:2])
    text = template.format(
        who=first, who2=second, where=pick(random, theme.where), goal=pick(random, theme.goal), thing=pick(random,
        theme.thing),
        peril=pick(random, theme.peril), name=person_name(random).split()[0], place=place_name(random),
    )  # fmt: skip
    for vowel in "aeiou":
        text = text.replace(f" a {vowel}", f" an {vowel}").replace(f"A {vowel}", f"An {vowel}")
    return text[0].upper() + text[1:]


_GIVEN = ("Alb", "Bren", "Cor", "Dal", "Els", "Fenn", "Gor", "Hal", "Ild", "Jor", "Kest", "Lun", "Mir", "Nev", "Orl",
          "Pell",
          "Quin", "Rav", "Sol", "Tam", "Ulv", "Ves", "Wyn", "Yor", "Zel")  # fmt: skip
_GIVEN_ENDS = ("a", "en", "ina", "is", "o", "ette", "ric", "wen")
_FAMILY = ("Amber", "Brandt", "Cald", "Dorn", "Eskel", "Farn", "Grim", "Hollo", "Iver", "Karst", "Lind", "Marl",
           "Norr", "Oströ",
           "Pem", "Quarl", "Rask", "Sönder", "Thorn", "Umbr", "Vael", "Wex", "Zamb")  # fmt: skip
_FAMILY_ENDS = ("berg", "by", "dale", "ero", "ford", "holt", "ini", "mark", "quist", "son", "stone", "wick")
_PLACES = ("Arvel", "Bellu", "Cormo", "Drava", "Elmi", "Galdo", "Hestri", "Ister", "Lomba", "Merri", "Nalba", "Orlu",
           "Perro",
           "Quillo", "Rossa", "Salve", "Tarqui", "Umbra", "Vessi", "Zorva")  # fmt: skip
_PLACE_ENDS = ("brook", "cour", "fell", "gate", "landa", "mar", "nne", "port", "stad", "ville")
_NOUNS = ("Promise", "Secret", "Return", "Shadow", "Letter", "Daughter", "Stranger", "Key", "Mirror", "Winter", "Debt",
          "Rumour",
          "Guest", "Silence", "Visitor", "Bargain")  # fmt: skip
_ADJECTIVES = ("Quiet", "Crimson", "Last", "Borrowed", "Restless", "Second", "Hollow", "Golden", "Distant", "Unlikely")
_TITLES = (
    "The {noun} of {place}", "The {adjective} {noun}", "{place}", "Nights in {place}", "{given}'s {noun}",
    "{adjective} {place}",
    "A {noun} in {place}", "Goodbye, {place}", "{given} and {given2}", "The {place} {noun}", "{number} Days in {place}",
)  # fmt: skip
_FOREIGN_TITLES = (
    "Été à {place}", "Les Fantômes de {place}", "Señor {given}", "Die Brüder von {place}", "Smårollen i {place}",
    "Le Café {given}",
)  # fmt: skip


def person_name(random: RandomState) -> str:
    """An invented given and family name."""
    return f"{pick(random, _GIVEN)}{pick(random, _GIVEN_ENDS)} {pick(random, _FAMILY)}{pick(random, _FAMILY_ENDS)}"


def place_name(random: RandomState) -> str:
    """An invented place."""
    return pick(random, _PLACES) + pick(random, _PLACE_ENDS)


def film_title(random: RandomState, *, foreign: bool = False) -> str:
    """An invented title without theme words; a ``foreign`` one has letters outside ASCII, all of them in latin-1."""
    template = pick(random, _FOREIGN_TITLES if foreign else _TITLES)
    return template.format(
        noun=pick(random, _NOUNS), adjective=pick(random, _ADJECTIVES), place=place_name(random),
        number=random.randint(3, 90),
        given=person_name(random).split()[0], given2=person_name(random).split()[0],
    )  # fmt: skip


def catalogue_title(title: str, year: int) -> str:
    """MovieLens' way to write a title: article last, year in brackets, as in ``Promise of Vessibrook, The (1994)``."""
    article, _, rest = title.partition(" ")
    if article in {"The", "A"} and rest:
        title = f"{rest}, {article}"
    return f"{title} ({year})"


def plain_ascii(text: str) -> str:
    """``text`` with accents dropped, for fonts and sort keys."""
    return unicodedata.normalize("NFKD", text.replace("ø", "o")).encode("ascii", "ignore").decode()


_KANA = ("ア", "イ", "カ", "キ", "サ", "シ", "タ", "ト", "ナ", "ノ", "マ", "ミ", "ラ", "リ", "ロ", "ン")


def translated(title: str, language: str, random: RandomState) -> str:
    """A pretended translation of an invented title (``fr``, ``de``, ``sv`` or ``ja``)."""
    if language == "ja":
        return "".join(pick(random, _KANA) for _ in range(int(random.randint(4, 9))))
    head = {"fr": "L'Énigme de", "de": "Das Rätsel von", "sv": "Gåtan i"}[language]
    return f"{head} {title.split()[-1]}"
