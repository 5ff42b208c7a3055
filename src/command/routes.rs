//! `ringway routes`: what is done with the messages of clients, as a table or as JSON.

use std::process::ExitCode;

use super::print;
use crate::cli::RoutesWish;
use crate::config::Loaded;
use crate::route::{Route, Routes};

const HEAD: [&str; 7] = ["TYPE", "WHEN", "ROLES", "ACTION", "CHANNEL", "SERVICE", "FROM"];

pub fn run(wish: &RoutesWish, loaded: &Loaded) -> ExitCode {
    match wish.json {
        true => print(&format!("{}\n", loaded.routes.json())),
        false => print(&table(loaded.routes)),
    }
}

fn table(routes: &Routes) -> String {
    let rows: Vec<[String; 7]> = routes.all().iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEAD[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let line = |cells: &[String; 7]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut lines = vec![line(&HEAD.map(str::to_owned))];
    lines.extend(rows.iter().map(line));
    lines.extend(routes.replaced().iter().map(|replaced| format!("{replaced}\n")));
    lines.concat()
}

fn row(route: &Route) -> [String; 7] {
    let definition = &route.definition;
    let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let roles = definition.roles.as_ref().map(|roles| {
        let shown = roles.iter().map(|role| if role.is_empty() { "(none)" } else { role });
        shown.collect::<Vec<_>>().join(",")
    });
    [
        route.kind.to_string(),
        or_dash(route.when.as_deref()),
        or_dash(roles.as_deref()),
        definition.action.to_string() + if route.action.reaches_others() { " (to others)" } else { "" },
        or_dash(definition.channel.as_deref()),
        or_dash(definition.service.as_deref()),
        format!("{}:{}", route.file, route.line),
    ]
}
