//! The HTML report: one self-contained page that draws itself from the records of a run. Called once, at the end of a
//! run with `--report FILE.html`.
//!
//! The page loads nothing from anywhere: style, script and figures are inside, and its own security policy forbids the
//! rest. Text from the run cannot leave the block of data it stands in. The charts are those of the dashboard.

use ringway::admin::charts;

const PAGE: &str = include_str!("../../report/page.html");
const STYLE: &str = include_str!("../../report/page.css");

const SCRIPT: &str = include_str!("../../report/page.js");

/// The page for these records, each the JSON of one phase as `--json` writes it.
pub fn render<S: AsRef<str>>(records: &[S]) -> String {
    let records: String = records.iter().map(|record| embedded(record.as_ref())).collect();
    // The records come last: what they say is not searched for places to fill.
    charts::page(PAGE, STYLE, SCRIPT).replacen("{{records}}", &records, 1)
}

/// One line that no parser of HTML sees an end of the script in. In JSON `<` stands only in strings, where it may be
/// written as an escape; line breaks stand only between values.
fn embedded(record: &str) -> String {
    record.replace('<', "\\u003c").replace(['\n', '\r'], " ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECT: &str = r#"{"format":2,"scenario":"fanout","phase":"connect","label":"ringway"}"#;
    const FANOUT: &str = r#"{"format":2,"scenario":"fanout","phase":"fanout","label":"ringway"}"#;

    /// What the script of the page will read.
    fn embedded_lines(page: &str) -> Vec<&str> {
        let (_, data) = page.split_once("id=\"records\">\n").expect("the block of data");
        let (data, _) = data.split_once("</script>").expect("its end");
        data.lines().collect()
    }

    #[test]
    fn every_phase_is_on_the_page() {
        assert_eq!(embedded_lines(&render(&[CONNECT, FANOUT])), [CONNECT, FANOUT]);
    }

    #[test]
    fn a_record_over_several_lines_becomes_one() {
        assert_eq!(embedded_lines(&render(&["{\n\"format\": 2\r\n}"])), [r#"{ "format": 2  }"#]);
    }

    #[test]
    fn text_from_the_run_cannot_end_the_data() {
        let crime = r#"{"label":"</script><script>alert(1)</script><!--{{script}}"}"#;
        let page = render(&[crime]);
        assert_eq!(page.matches("<script").count(), render(&[CONNECT]).matches("<script").count());
        let [line] = embedded_lines(&page)[..] else { panic!("one record, one line") };
        assert!(!line.contains('<'));
        let value: sonic_rs::Value = sonic_rs::from_str(line).expect("still JSON");
        let wanted: sonic_rs::Value = sonic_rs::from_str(crime).expect("JSON");
        assert_eq!(value, wanted);
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let page = render(&[CONNECT, FANOUT]);
        for reference in ["://", "src=", "href=", "url(", "@import", "fetch(", "import("] {
            assert!(!page.contains(reference), "{reference} refers to something outside");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn every_place_is_filled() {
        assert!(!render(&[CONNECT]).contains("{{"));
    }
}
