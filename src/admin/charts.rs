//! Charts, as the dashboard and the report of the flood tool draw them: one script, one style, and how a page gets
//! them.
//!
//! The script has three parts, in the order in which they build on each other: how numbers read, axes, and the chart.
//! It knows nothing of what it shows; each page has a script of its own for that.

const STYLE: &str = include_str!("charts/chart.css");

const SCRIPT: &str =
    concat!(include_str!("charts/format.js"), include_str!("charts/scale.js"), include_str!("charts/chart.js"));

/// Fills the places `{{style}}` and `{{script}}` of a page with those of the charts and, behind them, its own.
pub fn page(frame: &str, style: &str, script: &str) -> String {
    frame.replacen("{{style}}", &[STYLE, style].concat(), 1).replacen("{{script}}", &[SCRIPT, script].concat(), 1)
}
