//! Carries out a request: for the socket, and for a peer in the same process.

use askaround_core::Key;
use askaround_core::script::Action;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::types::{ApiEvent, ApiReply, ApiRequest};
use crate::delivery::prefix::{PrefixError, is_prefix};
use crate::delivery::{Delivery, Status};

/// Events that wait to be told.
const EVENTS: usize = 64;

/// Carries out a request; `events` are told meanwhile. When `stop` is cancelled it ends soon.
pub async fn answer(
    delivery: &Delivery,
    request: ApiRequest,
    events: mpsc::Sender<ApiEvent>,
    stop: CancellationToken,
) -> ApiReply {
    match request {
        ApiRequest::Peers => act(delivery, Action::List, false, &stop).await,
        ApiRequest::Known { id } => act(delivery, Action::Known(id), false, &stop).await,
        ApiRequest::Contents { id } => act(delivery, Action::Contents(id), false, &stop).await,
        ApiRequest::Find { key, trace } => act(delivery, Action::Find(key), trace, &stop).await,
        ApiRequest::Register => act(delivery, Action::Register, false, &stop).await,
        ApiRequest::Unregister => act(delivery, Action::Unregister, false, &stop).await,
        ApiRequest::Hold { key } => act(delivery, Action::Hold(key), false, &stop).await,
        ApiRequest::Purge { key } => purge(delivery, key).await,
        ApiRequest::Add(request) => {
            let done = told(events, ApiEvent::Keep, |events| delivery.add(request, events, stop)).await;
            done.map_or_else(Into::into, ApiReply::Added)
        }
        ApiRequest::Verify { keys: given, repair } => {
            let mut keys = Vec::with_capacity(given.len());
            for key in given {
                match delivery.whole(key).await {
                    Ok(key) => keys.push(key),
                    Err(error) => return ApiReply::Error(error.to_string()),
                }
            }
            let verify = |events| delivery.verify(keys, repair, events, stop);
            let done = told(events, ApiEvent::Keep, verify).await;
            done.map_or_else(Into::into, ApiReply::Verified)
        }
        ApiRequest::Ls => delivery.list().await.map_or_else(Into::into, ApiReply::Contents),
        ApiRequest::Why { key: None } => ApiReply::Fetches(delivery.why(None)),
        ApiRequest::Why { key: Some(key) } => match delivery.whole(key).await {
            Ok(key) => ApiReply::Fetches(delivery.why(Some(&key))),
            Err(error) => ApiReply::Error(error.to_string()),
        },
        ApiRequest::Status => status(delivery, &stop).await,
        ApiRequest::Limit { up, down } => {
            delivery.set_limits(up.limit(), down.limit());
            status(delivery, &stop).await
        }
        ApiRequest::Get(mut request) => {
            request.key = match delivery.whole(request.key).await {
                Ok(key) => key,
                Err(error @ PrefixError::NotHere(_)) => {
                    return ApiReply::Error(format!(
                        "{error}; to fetch what is not here, give its whole key"
                    ));
                }
                Err(error) => return ApiReply::Error(error.to_string()),
            };
            let done = told(events, ApiEvent::Get, |events| delivery.get(request, events, stop)).await;
            done.map_or_else(Into::into, ApiReply::Got)
        }
    }
}

/// Purges a key as it is given, which may be any text that is held, else the one that it is the
/// start of.
async fn purge(delivery: &Delivery, key: Key) -> ApiReply {
    match delivery.purge(&key).await {
        Ok(purged) if !purged.held && is_prefix(&key) => match delivery.whole(key).await {
            Ok(whole) => delivery.purge(&whole).await.map_or_else(Into::into, ApiReply::Purged),
            // As of any other key that is not held.
            Err(PrefixError::NotHere(_)) => ApiReply::Purged(purged),
            Err(error) => ApiReply::Error(error.to_string()),
        },
        purged => purged.map_or_else(Into::into, ApiReply::Purged),
    }
}

/// Has the peer's machine do something.
async fn act(delivery: &Delivery, action: Action, trace: bool, stop: &CancellationToken) -> ApiReply {
    tokio::select! {
        // The command is given up with its future.
        () = stop.cancelled() => ApiReply::Stopped,
        outcome = delivery.peer().command(action, trace) => match outcome {
            Ok(outcome) => outcome.into(),
            Err(error) => ApiReply::Error(error.to_string()),
        },
    }
}

/// What the peer is doing. The catalogue is read on a thread that may block.
async fn status(delivery: &Delivery, stop: &CancellationToken) -> ApiReply {
    let tracker = tokio::select! {
        () = stop.cancelled() => return ApiReply::Stopped,
        tracker = delivery.peer().registration() => tracker,
    };
    let delivery = delivery.clone();
    match tokio::task::spawn_blocking(move || delivery.status()).await {
        Ok(Ok(status)) => ApiReply::Status(Status { tracker, ..status }),
        Ok(Err(error)) => ApiReply::Error(error.to_string()),
        Err(error) => ApiReply::Error(format!("a bug of ours: {error}")),
    }
}

/// Does `work` and passes on its events, as events of this API. Those that nobody takes any more
/// are dropped.
async fn told<E, T, F: Future<Output = T>>(
    events: mpsc::Sender<ApiEvent>,
    wrap: fn(E) -> ApiEvent,
    work: impl FnOnce(mpsc::Sender<E>) -> F,
) -> T {
    let (sender, mut receiver) = mpsc::channel(EVENTS);
    let pass_on = async {
        while let Some(event) = receiver.recv().await {
            let _ = events.send(wrap(event)).await;
        }
    };
    tokio::join!(work(sender), pass_on).0
}
