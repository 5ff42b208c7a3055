//! From `[redis]` to a client.

use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisResult};

use crate::config::{Redis, RedisUrl};

/// A client of the Redis that the settings name, for whoever speaks with it.
pub fn client(settings: &Redis, url: &RedisUrl) -> RedisResult<Client> {
    let mut session = RedisConnectionInfo::default().set_db(settings.database.into());
    if let Some(username) = &url.username {
        session = session.set_username(username);
    }
    if let Some(password) = &settings.password {
        session = session.set_password(password.expose());
    }
    let address = ConnectionAddr::Tcp(url.host.clone(), url.port);
    Client::open(address.into_connection_info()?.set_redis_settings(session))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn the_password_reaches_redis_and_no_text() {
        let url = RedisUrl::parse("redis://app@127.0.0.1:6380").expect("a URL");
        let settings = Redis { password: Some(Secret::new("hunter2")), database: 3, ..Redis::default() };
        let client = client(&settings, &url).expect("a client");
        let session = client.get_connection_info().redis_settings();
        assert_eq!((session.username(), session.password(), session.db()), (Some("app"), Some("hunter2"), 3));
        assert!(!format!("{:?}", client.get_connection_info()).contains("hunter2"));
    }
}
