//! Asking a peer, and how that ends.

use std::borrow::Cow;
use std::path::PathBuf;

use askaround_node::api::{self, ApiError, ApiEvent, ApiReply, ApiRequest, ApiSearch};
use askaround_node::delivery::keep::Purged;
use askaround_node::delivery::verify::VerifySummary;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::node::Node;
use super::progress::{Meter, Show};
use super::{folder, json, print, show};
use crate::args::{StateArgs, VerbArgs};
use crate::exit::{Failure, Stop};
use crate::plain;

/// Events that wait to be shown.
const EVENTS: usize = 64;

/// A peer that can be asked.
pub(super) enum Way<'a> {
    /// One that runs on this machine, by its folder.
    Running(PathBuf),
    /// One in this process.
    Here(&'a Node),
}

impl Way<'_> {
    /// Asks. When `give_up` is cancelled, the reply comes soon.
    ///
    /// # Errors
    /// If there is nobody to ask.
    pub(super) async fn ask(
        &self,
        request: &ApiRequest,
        mut event: impl FnMut(ApiEvent),
        give_up: &CancellationToken,
    ) -> Result<ApiReply, ApiError> {
        match self {
            Self::Running(folder) => api::ask(folder, request, event, give_up).await,
            Self::Here(node) => {
                let (sender, mut events) = mpsc::channel(EVENTS);
                let answer = api::answer(&node.delivery, request.clone(), sender, give_up.clone());
                let tell = async {
                    while let Some(happened) = events.recv().await {
                        event(happened);
                    }
                };
                Ok(tokio::join!(answer, tell).0)
            }
        }
    }
}

/// Something to ask, and how the reply is shown.
pub(super) struct Verb {
    pub(super) show: Show,
    pub(super) request: ApiRequest,
    /// Of `ls`: whole keys.
    pub(super) long: bool,
    /// Of `ls`: also the files of folders.
    pub(super) all: bool,
}

impl Verb {
    pub(super) fn new(show: Show, request: ApiRequest) -> Self {
        Self { show, request, long: false, all: false }
    }

    /// Asks the peer that runs on this machine something that ends soon.
    ///
    /// # Errors
    /// As [`Verb::run`].
    pub(super) async fn plain(args: VerbArgs, request: ApiRequest) -> Result<(), Failure> {
        let show = if args.json { Show::Json } else { Show::Lines };
        Self::new(show, request).run(&args.state).await
    }

    /// Asks the peer that runs on this machine, and shows what comes back.
    ///
    /// # Errors
    /// If it cannot be asked, or what was asked for is not so.
    pub(super) async fn run(self, state: &StateArgs) -> Result<(), Failure> {
        let stop = Stop::on_signals()?;
        let way = Way::Running(folder(state)?);
        let meter = Meter::new(self.show);
        let reply = self.ask(&way, &meter, &stop).await??;
        self.end(&reply, &stop)
    }

    /// Asks, and shows what happens meanwhile.
    ///
    /// # Errors
    /// If stdout cannot be written, or a signal ended it.
    pub(super) async fn ask(
        &self,
        way: &Way<'_>,
        meter: &Meter,
        stop: &Stop,
    ) -> Result<Result<ApiReply, ApiError>, Failure> {
        let mut shown = Ok(());
        let event = |event| {
            if shown.is_ok() {
                shown = meter.event(&event);
            }
        };
        let reply = way.ask(&self.request, event, stop.token()).await;
        shown?;
        // A peer that does not answer in time once it is told to stop is not what ended it.
        if reply.is_err() && stop.token().is_cancelled() { Err(stop.failure()) } else { Ok(reply) }
    }

    /// Shows the reply, and says whether that is what was asked for. With `--json` that is the last
    /// line, or the failure is: nothing may fail afterwards.
    ///
    /// # Errors
    /// If it is not.
    pub(super) fn end(&self, reply: &ApiReply, stop: &Stop) -> Result<(), Failure> {
        match reply {
            ApiReply::Stopped if stop.token().is_cancelled() => return Err(stop.failure()),
            ApiReply::Stopped => return Err(Failure::run(ApiError::Ended)),
            ApiReply::Error(text) => return Err(Failure::run(self.line(text))),
            ApiReply::Unusable(text) => return Err(Failure::usage(self.line(text))),
            _ => {}
        }
        if self.show == Show::Json {
            json::line(reply)?;
        } else {
            print(&plain::text(&show::text(self, reply)))?;
        }
        match reply {
            ApiReply::Purged(Purged { held: false, given_up: None, .. } | Purged { in_folder: true, .. })
            | ApiReply::Search(ApiSearch { found: None, .. })
            | ApiReply::Verified(VerifySummary { bad: 1.., .. }) => Err(Failure::Shown(1)),
            _ => Ok(()),
        }
    }

    /// What went wrong, in which there may be names and messages of strangers, on its line.
    pub(super) fn line<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.show == Show::Json { text.into() } else { plain::name(text) }
    }
}
