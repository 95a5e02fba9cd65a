"""Every name that the API may say has its words, as the API's own description lists them."""

import json

import pytest

from conftest import ROOT

SCHEMAS = json.loads((ROOT / "functions/tokens/openapi.json").read_text())["components"]["schemas"]
WORDS = [
    ("Network", "NETWORKS"), ("Kind", "KINDS"), ("TokenKind", "TOKENS"), ("Use", "USES"), ("ProfileState", "PROFILE_STATES"),
    ("Standing", "STANDINGS"), ("Colour", "COLOURS"), ("Reason", "REASONS"), ("EndingCode", "ENDINGS"), ("What", "EVENTS"), ("Trouble", "TROUBLES"),
]
# what the description names in its prose alone
PROSE = [
    ("Token", "state", "STATES"), ("Token", "uses", "HINDRANCES"), ("Notice", "kind", "NOTICES"), ("Deleted", "revocation", "REVOCATIONS"),
]


@pytest.fixture(scope="module")
def words(chromium):
    page = chromium.new_page()
    page.goto("about:blank")
    source = (ROOT / "functions/console/assets/words.js").read_text()
    yield page.evaluate(
        """(source) => import('data:text/javascript,' + encodeURIComponent(source))
            .then((words) => Object.fromEntries(Object.entries(words).filter(([, value]) => typeof value === 'object')
            .map(([name, value]) => [name, Object.keys(value)])))""", source)
    page.close()


@pytest.mark.parametrize("schema, name", WORDS)
def test_a_list_of_the_api_has_its_words_and_no_others(words, schema, name):
    assert sorted(words[name]) == sorted(SCHEMAS[schema]["enum"])


@pytest.mark.parametrize("schema, field, name", PROSE)
def test_what_the_api_describes_in_prose_has_its_words_and_no_others(words, schema, field, name):
    described = SCHEMAS[schema]["properties"][field]["description"].split("`")[1::2]
    assert sorted(words[name]) == sorted(described)
