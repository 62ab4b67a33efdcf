//! Unicode categories and scripts (`\pL`, `\p{Greek}`): those Go knows, and no other that the `regex` crate would take.

use super::escape::NEVER;
use super::{Fault, RegexError, read_part};

/// General categories by their short and long names, lower case, without separators.
const CATEGORIES: &str = "
    c casedletter cc cf closepunctuation cn cntrl co combiningmark connectorpunctuation control
    currencysymbol dashpunctuation decimalnumber digit enclosingmark finalpunctuation format
    initialpunctuation l lc letter letternumber lineseparator ll lm lo lowercaseletter lt lu m mark
    mathsymbol mc me mn modifierletter modifiersymbol n nd nl no nonspacingmark number
    openpunctuation other otherletter othernumber otherpunctuation othersymbol p paragraphseparator
    pc pd pe pf pi po privateuse ps punct punctuation s sc separator sk sm so spaceseparator
    spacingmark symbol titlecaseletter unassigned uppercaseletter z zl zp zs";

/// Scripts by their full names, lower case, without separators. Go does not know the short ones (`Grek`).
const SCRIPTS: &str = "
    adlam ahom anatolianhieroglyphs arabic armenian avestan balinese bamum bassavah batak bengali
    bhaiksuki bopomofo brahmi braille buginese buhid canadianaboriginal carian caucasianalbanian
    chakma cham cherokee chorasmian common coptic cuneiform cypriot cyprominoan cyrillic deseret
    devanagari divesakuru dogra duployan egyptianhieroglyphs elbasan elymaic ethiopic garay georgian
    glagolitic gothic grantha greek gujarati gunjalagondi gurmukhi gurungkhema han hangul
    hanifirohingya hanunoo hatran hebrew hiragana imperialaramaic inherited inscriptionalpahlavi
    inscriptionalparthian javanese kaithi kannada katakana kawi kayahli kharoshthi
    khitansmallscript khmer khojki khudawadi kiratrai lao latin lepcha limbu lineara linearb lisu
    lycian lydian mahajani makasar malayalam mandaic manichaean marchen masaramgondi medefaidrin
    meeteimayek mendekikakui meroiticcursive meroitichieroglyphs miao modi mongolian mro multani
    myanmar nabataean nagmundari nandinagari newtailue newa nko nushu nyiakengpuachuehmong ogham
    olchiki olonal oldhungarian olditalic oldnortharabian oldpermic oldpersian oldsogdian
    oldsoutharabian oldturkic olduyghur oriya osage osmanya pahawhhmong palmyrene paucinhau phagspa
    phoenician psalterpahlavi rejang runic samaritan saurashtra sharada shavian siddham signwriting
    sinhala sogdian sorasompeng soyombo sundanese sunuwar sylotinagri syriac tagalog tagbanwa taile
    taitham taiviet takri tamil tangsa tangut telugu thaana thai tibetan tifinagh tirhuta todhri
    toto tulutigalari ugaritic vai vithkuqi wancho warangciti yezidi yi zanabazarsquare";

/// The category or script `text` begins with, written for the `regex` crate, and what follows; none where it begins with neither `\p` nor `\P`.
pub(super) fn read_property(text: &str) -> Result<Option<(String, &str)>, RegexError> {
    let (negated, after) = match (text.strip_prefix(r"\p"), text.strip_prefix(r"\P")) {
        (Some(after), _) => (false, after),
        (None, Some(after)) => (true, after),
        (None, None) => return Ok(None),
    };
    let (name, rest) = match after.strip_prefix('{') {
        Some(braced) => braced
            .split_once('}')
            .ok_or_else(|| Fault::CharRange.at(text))?,
        None => {
            let mut chars = after.chars();
            chars.next();
            (read_part(after, chars.as_str()), chars.as_str())
        }
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (!negated, name),
        None => (negated, name),
    };
    let Some(class) = class_of(name) else {
        return Err(Fault::CharRange.at(read_part(text, rest)));
    };
    let item = if negated {
        format!("[^{class}]")
    } else {
        class
    };
    Ok(Some((item, rest)))
}

/// Case, blanks, hyphens and underscores in a name do not count.
fn class_of(name: &str) -> Option<String> {
    let name: String = name
        .chars()
        .filter(|c| !matches!(c, '_' | '-' | ' '))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let known = |names: &str| names.split_ascii_whitespace().any(|known| known == name);
    match name.as_str() {
        "any" => Some(r"\x{0}-\x{10FFFF}".to_owned()),
        "assigned" => Some(r"\P{gc=cn}".to_owned()),
        "ascii" => Some(r"\x{0}-\x{7F}".to_owned()),
        "cs" | "surrogate" => Some(NEVER.to_owned()),
        _ if known(CATEGORIES) => Some(format!(r"\p{{gc={name}}}")),
        _ if known(SCRIPTS) => Some(format!(r"\p{{sc={name}}}")),
        _ => None,
    }
}
