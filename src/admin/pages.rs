//! What the pages of the admin port have in common, the [dashboard](super::dashboard) and the
//! [test client](super::test_client): their head and mark, and how they are answered with.

use axum::http::{HeaderName, header};

use super::charts;

const HEAD: &str = include_str!("pages/head.html");
const MARK: &str = include_str!("pages/mark.svg");

/// A page and its headers.
pub type PageOf = ([(HeaderName, &'static str); 3], &'static str);

/// Fills the places `{{head}}` and `{{mark}}` of a page, and those of the [charts](charts::page).
pub fn put_together(frame: &str, style: &str, script: &str) -> String {
    charts::page(&frame.replacen("{{head}}", HEAD, 1).replacen("{{mark}}", MARK, 1), style, script)
}

/// A page that may do what its content security policy says.
pub fn answer(policy: &'static str, page: &'static str) -> PageOf {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, page)
}
