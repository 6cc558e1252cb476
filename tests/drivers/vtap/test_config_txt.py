import pytest

from tilltap_drivers.vtap.config_txt import frame_spec, parse_config, parse_template


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("", b""),
        ("%02$t$n%1F$u%1F", b"\x02G16\x1f08E9460F\x1f"),
        ("<$t$n~$u~", b"<G16~08E9460F~"),
        ("%0D%0a", b"\r\n"),
        ("100%25", b"100%"),
        ("$$t", b"$t"),
        ("$s:", b"CC123456:"),
        ("£", "£".encode()),
        ("%3B", b";"),
    ],
)
def test_templates_render_as_the_reader_does(text: str, rendered: bytes) -> None:
    values = {"t": b"G", "n": b"16", "u": b"08E9460F", "s": b"CC123456"}
    assert parse_template(text).render(values) == rendered


def test_a_token_that_old_firmware_does_not_know_stays_text() -> None:
    assert parse_template("$t$u|").render({"t": b"A"}) == b"A$u|"


@pytest.mark.parametrize(
    ("prefix", "postfix", "words"),
    [
        ("$t$n%02", "%03%0A", "prefix: begins with $t"),
        ("%02;", "%03", "prefix: a ';' starts a comment"),
        ("%02", "%03;", "postfix: a ';'"),
        ("%2", "%03", "prefix: '%2'"),
        ("%02%", "%03", "prefix: '%'"),
        ("%zz", "%03", "prefix: '%zz'"),
        ("%02$x", "%03", "prefix: unknown token '$x'"),
        ("%02$", "%03", "prefix: unknown token '$'"),
        ("%02\n", "%03", "write %0A"),
        ("%02", "", "postfix: is empty"),
        ("%02", "%03$u", "postfix: ends with $u"),
        ("%02$s", "%03", "prefix: $s needs a literal"),
        ("%02", "$s%03", "postfix: $s needs a literal"),
        ("%02$u%1F$u%1F", "%03", "may stand once"),
        ("%02$u%1F", "$u%03", "may stand once"),
        ("%02%03", "%03", "also occurs in the prefix"),
        ("%02$t%1F", "%1F", "also occurs in the prefix"),
        ("%0A$t,", "%0A", "also occurs in the prefix"),
        ("%02" * 70, "%03", "longer than"),
        ("", "$t", "postfix: ends with $t"),
    ],
)
def test_a_frame_that_cannot_be_found_is_refused_in_one_line(prefix: str, postfix: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        frame_spec(prefix, postfix)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("postfix", ["", "%0A", "%0D", "%0D%0A", "%03%0A", "%1D", "END", "%1F$t%0A"])
def test_no_prefix_means_bare_lines_whatever_the_postfix(postfix: str) -> None:
    assert frame_spec("", postfix).bare


def test_config_txt_as_the_vendor_writes_it() -> None:
    config = parse_config(
        "!VTAPconfig\r\n; a comment\r\n\r\nComPortPrefix=%02$t ; inline\r\nPassiveInterfaces=2\r\n"
        "passiveinterfaces=1\r\nUnknownThing=kept\r\n[passbeep]\r\nnot a setting\r\n"
    )
    assert config.settings == {"ComPortPrefix": "%02$t", "passiveinterfaces": "1", "UnknownThing": "kept"}
    assert config.get("COMPORTPREFIX") == "%02$t"
    assert config.get("PassiveInterfaces") == "1"
    assert config.get("Missing", "x") == "x"


def test_config_txt_may_begin_with_a_byte_order_mark_and_end_lines_with_cr() -> None:
    assert parse_config("\ufeff!VTAPconfig\rA=1\rB=2").settings == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1"),
        ("KBLogMode=0\n", "line 1"),
        ("!VTAPconfig\nA=1\nnonsense\n", "line 3"),
        ("!VTAPconfig\n=1\n", "line 2"),
    ],
)
def test_a_broken_config_txt_names_its_line(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_config(text)


def test_the_postfix_of_a_file_without_one_is_a_line_feed() -> None:
    before, after = parse_config("!VTAPconfig\nSerialPrefix=%02\n").templates("Serial")
    assert (before.render({}), after.render({})) == (b"\x02", b"\n")
