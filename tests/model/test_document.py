from pathlib import Path

from model.explore import with_table

DOCUMENT = Path(__file__).parents[2] / "docs" / "exactly-once.md"


def test_the_table_of_the_document_is_what_the_search_finds() -> None:
    said = DOCUMENT.read_text()
    assert said == with_table(said), "from tests/: python -m model.explore --document ../docs/exactly-once.md"
