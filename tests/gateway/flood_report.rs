//! Promise: the report of the flood tool can be read on a phone: no column of its table is cut, and the phase that the
//! run is about is among those that are seen first. Where there are more beside these, the page says so.

use ringway::admin::charts;
use sonic_rs::json;

use crate::support::browser::Browser;

const FRAME: &str = include_str!("../../tools/flood/report/page.html");
const STYLE: &str = include_str!("../../tools/flood/report/page.css");
const SCRIPT: &str = include_str!("../../tools/flood/report/page.js");

const PHASES: [&str; 5] = ["connect", "before", "reconnect", "after", "a rather long one"];

/// The phases whose columns are seen whole, and how many are cut by the names or by the border.
const SEEN: &str = "(() => {
    const box = document.getElementById('phases').parentElement.getBoundingClientRect();
    const [names, ...columns] = document.querySelectorAll('#phases thead th');
    const from = names.getBoundingClientRect().right;
    const parts = columns.map((column) => {
        const { left, right, width } = column.getBoundingClientRect();
        return [column.textContent, (Math.min(right, box.right) - Math.max(left, from)) / width];
    });
    // A pixel is the border's.
    const whole = parts.filter(([, part]) => part > 0.98).map(([name]) => name);
    return whole.join() + ' ' + parts.filter(([, part]) => part > 0.02 && part <= 0.98).length;
})()";

#[test]
fn no_column_is_cut_on_a_phone() {
    // The storm, if there is one; else the last phase.
    for (phases, first) in
        [(&PHASES[..], "reconnect"), (&PHASES[..2], "before"), (&["connect", "x", "y", "fanout"], "fanout")]
    {
        let folder = tempfile::tempdir().expect("a temp dir");
        let path = folder.path().join("report.html");
        std::fs::write(&path, report(phases)).expect("the temp dir is writable");
        let mut page = Browser::open(&format!("file://{}", path.display()));
        page.eventually("it is drawn", "document.querySelectorAll('#phases tbody tr').length > 5");
        for width in [320, 360, 390, 430] {
            let metrics = json!({ "width": width, "height": 800, "deviceScaleFactor": 2, "mobile": true });
            page.command("Emulation.setDeviceMetricsOverride", metrics);
            page.eventually("it is that narrow", &format!("innerWidth === {width}"));
            page.eventually("nothing is cut", &format!("{SEEN}.endsWith(' 0')"));
            let seen = page.evaluate(SEEN);
            assert!(seen.contains(first), "{phases:?} at {width} px: {seen}");
            let (shown, all) = (seen.split(',').count(), phases.len());
            let more = page.evaluate("document.getElementById('beside').textContent");
            let said = more.starts_with(&format!("{shown} of {all},"));
            assert!(said || shown == all && more.is_empty(), "{phases:?} at {width} px: {seen}, and {more:?}");
        }
        assert_eq!(page.faults(), [""; 0], "what the browser complained about");
    }
}

/// The page of a run with these phases, as the tool makes it.
fn report(phases: &[&str]) -> String {
    let records = phases.iter().map(|phase| {
        let record = json!({
            "scenario": "storm", "phase": phase, "label": "ringway", "duration_s": 10.1, "loop": "open",
            "started_unix_ms": 1_700_000_000_000_u64, "arguments": ["storm"], "tool": { "version": "0.1.0", "workers": 2 },
            "host": { "kernel": "6.1", "cores": 2, "memory_bytes": 8 << 30_u64, "nofile": 20_000 },
            "connections": { "asked": 100_000, "held": 100_000, "lost": 0, "refused": 0, "connect_s": 3.5 },
            "messages": 100, "deliveries": 10_000_000, "lost": 0, "duplicated": 0, "out_of_order": 0,
        });
        record.to_string() + "\n"
    });
    charts::page(FRAME, STYLE, SCRIPT).replacen("{{records}}", &records.collect::<String>(), 1)
}
