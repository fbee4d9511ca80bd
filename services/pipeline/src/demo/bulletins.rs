//! What comes after the articles, without end: bulletins of the harbour office, by turns in English and in Arabic.

use super::script::Text;

/// Addresses of bulletins begin so.
pub(super) const SLUG: &str = "bulletin-";

/// The same number always says the same; corrected, it says it with another wind.
pub(super) fn text(number: u64, corrected: bool) -> Text {
    // Not a forecast: numbers that look like one.
    let drawn = |salt: u64, below: u64| (number.wrapping_mul(2_654_435_761).wrapping_add(salt * 40_503) >> 7) % below;
    let wind = 6 + drawn(1, 22) + if corrected { 3 } else { 0 };
    let (waves, ships, boats, degrees) = (4 + drawn(2, 16), 2 + drawn(3, 9), 5 + drawn(4, 30), 14 + drawn(5, 15));
    let (metres, tenths) = (waves / 10, waves % 10);
    if number % 2 == 1 {
        let note = if corrected {
            "This bulletin replaces an earlier one, in which the wind was given too low."
        } else {
            "The next bulletin follows when the office has new readings from the two buoys."
        };
        Text {
            language: "en",
            section: "Harbour",
            author: "Tom Ellery",
            title: format!("Harbour bulletin {number}: wind {wind} knots, {degrees} degrees"),
            paragraphs: vec![
                format!(
                    "The harbour office of Marsa Qamar measured {wind} knots of wind at the outer pier and waves of {metres}.{tenths} metres \
                     beyond the breakwater. The water is calm inside, and the air has {degrees} degrees."
                ),
                format!(
                    "{ships} ships are expected before the evening, and {boats} fishing boats have reported that they are out. The ferry \
                     to the island runs as planned; passengers with bicycles should come a quarter of an hour early."
                ),
                note.to_owned(),
            ],
        }
    } else {
        let note = if corrected {
            "تحل هذه النشرة محل نشرة سابقة وردت فيها سرعة الرياح أقل مما هي عليه."
        } else {
            "تصدر النشرة التالية حين تصل إلى المكتب قراءات جديدة من العوامتين."
        };
        Text {
            language: "ar",
            section: "الميناء",
            author: "ياسر الخطيب",
            title: format!("نشرة الميناء رقم {number}: رياح بسرعة {wind} عقدة وحرارة {degrees} درجة"),
            paragraphs: vec![
                format!(
                    "سجل مكتب ميناء مرسى قمر رياحا بسرعة {wind} عقدة عند الرصيف الخارجي، وأمواجا ارتفاعها {metres}.{tenths} متر خلف كاسر \
                     الأمواج. أما داخل الحوض فالماء هادئ، ودرجة الحرارة {degrees} درجة."
                ),
                format!(
                    "يُنتظر وصول {ships} سفن قبل المساء، وأبلغ {boats} من قوارب الصيد عن خروجها إلى البحر. وتسير العبارة إلى الجزيرة في \
                     مواعيدها المعتادة، ويُرجى من الركاب الذين يحملون دراجات أن يحضروا قبل الموعد بربع ساعة."
                ),
                note.to_owned(),
            ],
        }
    }
}
