//! `docs/OPERATIONS.md` lists what there is.

use super::*;

/// The rows of `docs/OPERATIONS.md` whose second column is a variable of ours, as (key, variable, default).
fn documented() -> Vec<[String; 3]> {
    let rows = include_str!("../../../docs/OPERATIONS.md").lines().filter(|line| line.contains("| `RINGWAY_"));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned());
        std::array::from_fn(|_| cells.next().expect("a cell"))
    })
    .collect()
}

#[test]
fn the_documentation_lists_every_key_with_its_default() {
    let defaults = Config::default();
    let keys: Vec<[String; 3]> = Key::all()
        .into_iter()
        .map(|key| {
            let default = defaults.value(key).filter(|_| !key.is_secret());
            let default = default.map_or("not set".to_owned(), |value| value.to_string());
            [key.to_string(), key.variable(), default]
        })
        .collect();
    assert_eq!(documented(), keys);
}

#[test]
fn the_documentation_lists_every_alias() {
    let text = include_str!("../../../docs/OPERATIONS.md");
    for alias in &environment::ALIASES {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{}` |", alias.variable)));
        assert!(row.is_some_and(|row| row.contains(&format!("`{}`", alias.key))), "{}", alias.variable);
    }
    for name in environment::WITHOUT_EFFECT {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}
