//! The names of months in the languages of frequent news, and of days in English and Arabic, folded as [`super::tokens`] folds them.

use jiff::civil::Weekday;

/// Names of one word; also short ones where a language has them.
const NAMES: &[(u8, &str)] = &[
    (
        1,
        "january jan janvier janv januar jänner enero ene gennaio gen janeiro januari ocak января январь \
         stycznia ianuarie ιανουαρίου січня gener يناير جانفي ژانویه ژانويه",
    ),
    (
        2,
        "february feb février fevrier févr februar febrero febbraio fevereiro fev februari şubat февраля \
         февраль lutego februarie φεβρουαρίου лютого فبراير فيفري شباط فوريه",
    ),
    (
        3,
        "march mar mars märz marz marzo março marco maart mart марта март marca martie μαρτίου березня maret \
         mrz مارس اذار",
    ),
    (
        4,
        "april apr avril avr abril abr aprile nisan апреля апрель kwietnia aprilie απριλίου квітня ابريل \
         افريل نيسان اوريل",
    ),
    (5, "may mai mayo maggio mag maio mei mayıs maj мая май maja μαΐου травня مايو ماي ايار مه"),
    (
        6,
        "june jun juin juni junio giugno giu junho haziran июня июнь czerwca iunie ιουνίου червня يونيو يونيه \
         جوان حزيران ژوين",
    ),
    (
        7,
        "july jul juillet juil juli julio luglio lug julho temmuz июля июль lipca iulie ιουλίου липня يوليو \
         يوليه جويليه يوليوز تموز",
    ),
    (
        8,
        "august aug août aout agosto ago augustus augusti ağustos августа август sierpnia αυγούστου серпня \
         agustus اغسطس اوت غشت اب اوگوست",
    ),
    (
        9,
        "september sept sep septembre septiembre settembre set setembro eylül сентября сентябрь września \
         septembrie σεπτεμβρίου вересня سبتمبر شتنبر ايلول سپتامبر",
    ),
    (
        10,
        "october oct octobre oktober okt octubre ottobre ott outubro out ekim октября октябрь października \
         octombrie οκτωβρίου жовтня اكتوبر اوكتوبر اكتبر",
    ),
    (
        11,
        "november nov novembre noviembre novembro kasım ноября ноябрь listopada noiembrie νοεμβρίου листопада \
         نوفمبر نونبر نوامبر",
    ),
    (
        12,
        "december dec décembre decembre déc dezember dez diciembre dic dicembre dezembro desember aralık \
         декабря декабрь grudnia decembrie δεκεμβρίου грудня desembre ديسمبر دجنبر دسامبر",
    ),
];

/// The month of a folded word. `next` is the word behind it: two Levantine names have a first and a second month.
pub(super) fn month(word: &str, next: Option<&str>) -> Option<u8> {
    match (word, next) {
        ("كانون", Some("الثاني")) => return Some(1),
        ("كانون", Some("الاول")) => return Some(12),
        ("تشرين", Some("الاول")) => return Some(10),
        ("تشرين", Some("الثاني")) => return Some(11),
        _ => {}
    }
    // "وآب" and "بيناير" occur, but a date in a byline has the bare name.
    NAMES.iter().find(|(_, names)| names.split(' ').any(|n| n == word)).map(|(n, _)| *n)
}

/// The day of the week of a folded word; Arabic names have their article or not.
pub(super) fn weekday(word: &str) -> Option<Weekday> {
    Some(match word.strip_prefix("ال").unwrap_or(word) {
        "sunday" | "sun" | "احد" => Weekday::Sunday,
        "monday" | "mon" | "اثنين" => Weekday::Monday,
        "tuesday" | "tue" | "tues" | "ثلاثاء" => Weekday::Tuesday,
        "wednesday" | "wed" | "اربعاء" => Weekday::Wednesday,
        "thursday" | "thu" | "thurs" | "خميس" => Weekday::Thursday,
        "friday" | "fri" | "جمعه" => Weekday::Friday,
        "saturday" | "sat" | "سبت" => Weekday::Saturday,
        _ => return None,
    })
}
