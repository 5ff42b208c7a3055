//! Parameters in the query of a request: `?token=…&userType=driver`.
//!
//! Called once or a few times per connect, so it searches instead of building a map, and only copies what is encoded.

use std::borrow::Cow;

/// The first parameter of this name, decoded as an HTML form encodes it: `+` is a blank, `%41` a byte. Bytes that make
/// no UTF-8 become U+FFFD; a `%` without two hexadecimal digits stands for itself. An empty value is none.
pub fn query_param<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_parameter_of_a_name_counts() {
        let query = "token=abc.d-e_f&userType=driver&token=other&flag&empty=";
        assert_eq!(query_param(query, "token").as_deref(), Some("abc.d-e_f"));
        assert_eq!(query_param(query, "userType").as_deref(), Some("driver"));
        assert_eq!(query_param("token=&token=other", "token"), None);
        assert_eq!(query_param(query, "tok"), None);
        assert_eq!(query_param("", "token"), None);
    }

    #[test]
    fn an_empty_parameter_is_none() {
        let query = "flag&empty=&token=&x=1";
        for name in ["flag", "empty", "token", ""] {
            assert_eq!(query_param(query, name), None, "{name}");
        }
    }

    #[test]
    fn names_and_values_are_decoded() {
        assert_eq!(query_param("user%54ype=a+b%20c%C3%bc", "userType").as_deref(), Some("a b cü"));
        assert_eq!(query_param("a=1=2", "a").as_deref(), Some("1=2"));
    }

    #[test]
    fn what_is_wrongly_encoded_stands_for_itself() {
        for (encoded, decoded) in [("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%%41", "%A"), ("%ff", "\u{fffd}")] {
            assert_eq!(query_param(&format!("a={encoded}"), "a").as_deref(), Some(decoded));
        }
    }

    #[test]
    fn a_plain_value_is_not_copied() {
        assert!(matches!(query_param("token=abc", "token"), Some(Cow::Borrowed("abc"))));
    }

    proptest! {
        #[test]
        fn any_value_comes_back_from_its_encoding(value: String, other: String) {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            let query = format!("x{}=1&name={}&rest", encode(&other), encode(&value));
            let read = query_param(&query, "name").map(Cow::into_owned);
            prop_assert_eq!(read, Some(value).filter(|value| !value.is_empty()));
        }

        #[test]
        fn random_queries_never_panic(query: String) {
            let _ = query_param(&query, "token");
        }
    }
}
