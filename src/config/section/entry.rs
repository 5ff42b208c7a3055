//! One entry of a list of the file (`[[channels]]`, `[[services]]`): its keys are read and checked one by one, so that
//! each thing that is wrong is reported with its entry and key.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::config::SetBy;
use crate::config::finding::Findings;
use crate::config::key::{field_names, nearest};

/// An entry's place in its list, counted from 0.
pub struct Entry<'a> {
    pub list: &'static str,
    pub index: usize,
    pub set_by: &'a SetBy,
    pub findings: &'a mut Findings,
}

impl Entry<'_> {
    /// The entry as keys and values; `None`, and a problem, if it is something else.
    pub fn keys(&mut self, entry: Value) -> Option<Table> {
        let Value::Table(keys) = entry else {
            let place = format_args!("{}[{}]", self.list, self.index);
            self.findings.problem_at(place, self.set_by, "expected keys and values");
            return None;
        };
        Some(keys)
    }

    /// Reads what `T` has fields for. `None`: there are problems, each with its key.
    pub fn read<T: Serialize + DeserializeOwned + Default>(&mut self, keys: Table) -> Option<T> {
        let count = keys.len();
        let accepted: Table = keys.into_iter().filter(|(name, value)| self.accepts::<T>(name, value)).collect();
        if accepted.len() < count { None } else { T::deserialize(accepted).ok() }
    }

    /// Tries a value alone.
    fn accepts<T: DeserializeOwned>(&mut self, name: &str, value: &Value) -> bool {
        let known = field_names::<T>();
        if !known.contains(&name) {
            let hint = nearest(name, known.iter().map(|name| (*name).to_owned()));
            let hint = hint.map(|key| format!("; did you mean {key}?")).unwrap_or_default();
            self.problem(name, format_args!("unknown key{hint}"));
            return false;
        }
        let alone = Table::from_iter([(name.to_owned(), value.clone())]);
        T::deserialize(alone).map_err(|error| self.problem(name, error.message())).is_ok()
    }

    pub fn problem(&mut self, name: &str, message: impl Display) {
        self.findings.problem_at(format_args!("{}[{}].{name}", self.list, self.index), self.set_by, message);
    }

    pub fn warning(&mut self, name: &str, message: impl Display) {
        self.findings.warning_at(format_args!("{}[{}].{name}", self.list, self.index), self.set_by, message);
    }
}
