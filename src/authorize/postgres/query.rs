//! The query of the configuration, put to the database over one connection.
//!
//! Parameters are sent as text, so that the server reads them as whatever the query compares them with: an id column may
//! be text, a number or a UUID. What a client says that is none of these is refused by the server, and is no member.

use std::error::Error;

use deadpool_postgres::Client;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Row, Statement};

use super::failed::Failed;

/// Whether the database understands the query, as it is now.
pub async fn understand(client: &Client, sql: &str) -> Result<(), Failed> {
    // Anew each time: tables come and go.
    let wanted = client.prepare(sql).await?.params().len();
    if (2..=3).contains(&wanted) { Ok(()) } else { Err(Failed::Parameters(wanted)) }
}

/// Whether the query has a row that allows it to a user, of a channel's id and its name.
pub async fn is_allowed(client: &Client, sql: &str, [user_id, id, channel]: [&str; 3]) -> Result<bool, Failed> {
    let statement = client.prepare_cached(sql).await?;
    let row = row(client, &statement, &[AsText(user_id), AsText(id), AsText(channel)]).await?;
    Ok(row.is_some_and(|row| allows(&row)))
}

async fn row(client: &Client, statement: &Statement, values: &[AsText<'_>]) -> Result<Option<Row>, Failed> {
    let wanted = statement.params().len();
    let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).take(wanted).collect();
    if values.len() < wanted {
        return Err(Failed::Parameters(wanted));
    }
    Ok(client.query_opt(statement, &values).await?)
}

/// A row allows it, unless it begins with a boolean that does not.
fn allows(row: &Row) -> bool {
    match row.columns().first() {
        Some(column) if *column.type_() == Type::BOOL => row.get::<_, Option<bool>>(0) == Some(true),
        _ => true,
    }
}

/// A parameter in the text format of the protocol, whatever its type is.
#[derive(Debug)]
struct AsText<'a>(&'a str);

impl ToSql for AsText<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
