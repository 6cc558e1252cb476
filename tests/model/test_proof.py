"""The protocol as built holds in every setting; every weakened variant fails, in the way the table says."""

import pytest

from model import variants
from model.explorer import explore
from model.variants import Setting, Variant


@pytest.mark.parametrize("setting", variants.SETTINGS, ids=lambda s: s.name)
def test_as_built_it_holds(setting: Setting) -> None:
    found = explore(setting.model)
    assert found.holds, f"{found.fault}: {' > '.join(found.story)}"
    assert found.resting > 0


@pytest.mark.parametrize("variant", [*variants.VARIANTS, *variants.BEYOND], ids=lambda v: v.name)
def test_left_out_it_fails(variant: Variant) -> None:
    found = variants.finding(variant.model)
    assert found.fault == variant.fault
    assert found.fault
    assert found.story


@pytest.mark.parametrize("variant", variants.SPARE, ids=lambda v: v.name)
def test_some_parts_are_made_good_for_by_others(variant: Variant) -> None:
    found = variants.finding(variant.model)
    assert found.holds, f"{found.fault}: {' > '.join(found.story)}"
