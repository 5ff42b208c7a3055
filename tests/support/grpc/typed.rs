//! What the backend says by the typed contracts: location, chat and notification.

use futures_util::{StreamExt, stream};
use ringway::proto::{chat::v1 as chat, location::v1 as location, notification::v1 as notification};
use tonic::{Request, Response, Status};

use super::{Does, Parts};

#[tonic::async_trait]
impl location::location_service_server::LocationService for Does {
    async fn report_location(
        &self,
        request: Request<location::ReportLocationRequest>,
    ) -> Result<Response<location::ReportLocationReply>, Status> {
        let ask = request.get_ref();
        let place =
            (ask.latitude, ask.longitude, ask.heading, ask.speed, ask.accuracy, ask.timestamp, ask.is_available);
        self.note("ReportLocation", &request, ask.identity.as_ref(), &ask.r#type, format!("{place:?}"));
        Ok(Response::new(location::ReportLocationReply::default()))
    }

    type WatchStream = Parts<location::WatchReply>;

    async fn watch(&self, request: Request<location::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let ask = request.get_ref();
        self.note("Watch", &request, ask.identity.as_ref(), &ask.r#type, format!("{:?}", (&ask.user_id, ask.radius)));
        let user_id = ask.user_id.clone();
        let at = move |n: i32| location::WatchReply {
            user_id: user_id.clone(),
            latitude: 48.0 + f64::from(n),
            longitude: 16.0,
            speed: (n > 0).then_some(1.5),
            ..Default::default()
        };
        Ok(Response::new(stream::iter(0..2).map(move |n| Ok(at(n))).boxed()))
    }
}

#[tonic::async_trait]
impl chat::chat_service_server::ChatService for Does {
    async fn send(&self, request: Request<chat::SendRequest>) -> Result<Response<chat::SendReply>, Status> {
        let ask = request.get_ref();
        let what = (&ask.conversation_id, &ask.content, &ask.message_type, &ask.channel, !ask.message_id.is_empty());
        self.note("Send", &request, ask.identity.as_ref(), &ask.r#type, format!("{what:?}"));
        let own = if ask.content == "rename" { "own-id" } else { "" };
        Ok(Response::new(chat::SendReply { message_id: own.into(), message: String::new() }))
    }

    type HistoryStream = Parts<chat::HistoryReply>;

    async fn history(&self, request: Request<chat::HistoryRequest>) -> Result<Response<Self::HistoryStream>, Status> {
        let ask = request.get_ref();
        self.note("History", &request, ask.identity.as_ref(), &ask.r#type, format!("{:?}", (&ask.before, ask.limit)));
        let (conversation_id, limit) = (ask.conversation_id.clone(), ask.limit);
        let entry = move |n: u32| chat::HistoryReply {
            conversation_id: conversation_id.clone(),
            message_id: format!("m{n}"),
            sender_id: "bob".into(),
            content: "so it \"was\"".into(),
            created_at: "2026-11-20T04:53:53Z".into(),
            message: String::new(),
        };
        Ok(Response::new(stream::iter(0..limit).map(move |n| Ok(entry(n))).boxed()))
    }
}

#[tonic::async_trait]
impl notification::notification_service_server::NotificationService for Does {
    async fn acknowledge(
        &self,
        request: Request<notification::AcknowledgeRequest>,
    ) -> Result<Response<notification::AcknowledgeReply>, Status> {
        let ask = request.get_ref();
        self.note("Acknowledge", &request, ask.identity.as_ref(), &ask.r#type, ask.notification_id.clone());
        Ok(Response::new(Default::default()))
    }

    async fn read(
        &self,
        request: Request<notification::ReadRequest>,
    ) -> Result<Response<notification::ReadReply>, Status> {
        let ask = request.get_ref();
        self.note("Read", &request, ask.identity.as_ref(), &ask.r#type, ask.notification_id.clone());
        Ok(Response::new(Default::default()))
    }

    type ListStream = Parts<notification::ListReply>;

    async fn list(&self, request: Request<notification::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let ask = request.get_ref();
        self.note("List", &request, ask.identity.as_ref(), &ask.r#type, String::new());
        let one = notification::ListReply {
            notification_id: "n1".into(),
            title: "Ready".into(),
            is_read: true,
            ..Default::default()
        };
        Ok(Response::new(stream::iter([Ok(one)]).boxed()))
    }
}
