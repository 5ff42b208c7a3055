//! The methods: from a request to the function that its HTTP counterpart calls as well, and back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use crate::admin::batch::{self, Entry};
use crate::admin::error::AdminError;
use crate::admin::published::Delivered;
use crate::admin::{State, health, presence, publish, revoke};
use crate::channel::name;
use crate::channel::presence::Listed;
use crate::proto::admin::v1::admin_service_server::AdminService;
use crate::proto::admin::v1::broadcast_request::To;
use crate::proto::admin::v1::{
    BroadcastRequest, DisconnectReply, DisconnectRequest, PresenceReply, PresenceRequest, PublishReply, PublishRequest,
    StatsReply, StatsRequest,
};
use crate::ws::frame::MESSAGE_BYTES_MAX;

use super::many::Many;

pub struct Methods(pub Arc<State>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AdminService for Methods {
    async fn publish(&self, request: Request<PublishRequest>) -> Answer<PublishReply> {
        published(&self.0, request.into_inner()).await.map(Response::new).map_err(AdminError::status)
    }

    type PublishManyStream = BoxStream<'static, Result<PublishReply, Status>>;

    async fn publish_many(&self, request: Request<Streaming<PublishRequest>>) -> Answer<Self::PublishManyStream> {
        Ok(Response::new(Many::new(self.0.clone(), request).answers()))
    }

    async fn broadcast(&self, request: Request<BroadcastRequest>) -> Answer<PublishReply> {
        broadcast(&self.0, request.into_inner()).await.map(Response::new).map_err(AdminError::status)
    }

    async fn disconnect(&self, request: Request<DisconnectRequest>) -> Answer<DisconnectReply> {
        let DisconnectRequest { user_id, for_seconds } = request.into_inner();
        let time = (for_seconds > 0).then(|| Duration::from_secs(for_seconds));
        let ended = revoke::disconnect(&self.0, user_id.into(), time).await.map_err(AdminError::status)?;
        Ok(Response::new(DisconnectReply {
            disconnected: ended.disconnected as u64,
            until: ended.until.unwrap_or_default(),
            note: ended.note.unwrap_or_default(),
        }))
    }

    async fn presence(&self, request: Request<PresenceRequest>) -> Answer<PresenceReply> {
        let PresenceRequest { channel } = request.into_inner();
        let Listed { users, count } = presence::listed(&self.0, &channel).map_err(AdminError::status)?;
        let user_ids = users.into_iter().map(Into::into).collect();
        Ok(Response::new(PresenceReply { channel, user_ids, count: count as u64 }))
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Answer<StatsReply> {
        let stats = health::counted(&self.0).await.map_err(AdminError::status)?;
        let by_user_type = stats.by_user_type.into_iter();
        Ok(Response::new(StatsReply {
            server_id: stats.server_id,
            total_connections: stats.total_connections,
            unique_users: stats.unique_users,
            by_user_type: by_user_type.map(|(user_type, sessions)| (user_type.into(), sessions as u64)).collect(),
            uptime: stats.uptime,
            note: stats.note.unwrap_or_default(),
        }))
    }
}

/// One message, under its key if it has one.
pub async fn published(state: &Arc<State>, request: PublishRequest) -> Result<PublishReply, AdminError> {
    let published = match &request.idempotency_key {
        None => batch::carry_out(state, vec![entry(request)?]).await,
        Some(key) if batch::is_key(key) => {
            let (key, asked) = (key.clone(), request.encode_to_vec());
            batch::once(state.clone(), &key, &asked, || Ok(vec![entry(request)?])).await
        }
        Some(_) => Err(AdminError::BadKey),
    }?;
    let delivered = published.results.first().cloned().unwrap_or_default();
    Ok(reply(delivered, published.note.as_deref()))
}

pub fn entry(request: PublishRequest) -> Result<Entry, AdminError> {
    let PublishRequest { channels, message, user_type, platform, .. } = request;
    if message.is_empty() {
        return Err(AdminError::BodyEmpty);
    }
    Ok(Entry { channels, message, filter: publish::filter(user_type, platform) })
}

pub fn reply(Delivered { delivered, kept }: Delivered, note: Option<&str>) -> PublishReply {
    PublishReply { delivered: delivered as u64, kept, note: note.unwrap_or_default().to_owned(), error: None }
}

async fn broadcast(state: &State, request: BroadcastRequest) -> Result<PublishReply, AdminError> {
    let BroadcastRequest { to, message, user_type, platform } = request;
    let filter = publish::filter(user_type, platform);
    if message.is_empty() {
        return Err(AdminError::BodyEmpty);
    }
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(AdminError::BodyTooLarge);
    }
    let delivered = match to {
        Some(To::UserId(id)) => publish::deliver(state, publish::of_user(&id), filter, message).await,
        Some(To::Channel(channel)) => publish::deliver(state, channel, filter, message).await,
        Some(To::All(true)) => publish::deliver(state, name::ALL.to_owned(), filter, message).await,
        // A slip must not turn a message to few into one to more.
        Some(To::SessionId(id)) if filter.is_none() => publish::deliver_to_session(state, &id, message).await,
        Some(To::SessionId(_) | To::All(false)) | None => Err(AdminError::BadQuery),
    }?;
    let publish::Delivered { delivered, kept, note } = delivered;
    Ok(PublishReply { delivered: delivered as u64, kept, note: note.unwrap_or_default(), error: None })
}
