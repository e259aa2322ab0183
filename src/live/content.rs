//! `get` and `add`: with a peer that runs on this machine, or with one that lasts as long as the
//! command. Both are asked the same.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use askaround_core::Key;
use askaround_node::api::{self, ApiError, ApiReply, ApiRequest, MAX_REQUEST};
use askaround_node::delivery::keep::{AddRequest, Added, KeepError};
use askaround_node::delivery::throughput::Throughput;
use askaround_node::delivery::types::GetRequest;
use askaround_node::peer::CommandError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::args::{AddArgs, GetArgs};
use super::json::{self, ServeResult};
use super::node::{Node, Settings};
use super::node_args::{ByArgs, HereArgs};
use super::progress::{Meter, Show};
use super::verbs::{Verb, Way};
use super::{absolute, folder, print, show_fetch, units};
use crate::exit::{Failure, Stop};
use crate::limits::few_files;
use crate::plain;

/// How often `add --serve` says what is being sent.
const PACE: Duration = Duration::from_secs(1);

/// Bytes of a request to add besides its paths: more than there are.
const REST: usize = 1 << 10;

/// How often it looks whether the files are what they were.
const LOOK: Duration = Duration::from_secs(3);

/// `askaround get`.
///
/// # Errors
/// If it was not got.
pub(super) async fn get(args: GetArgs) -> Result<(), Failure> {
    let to = args.out.clone().unwrap_or_else(|| args.key.as_str().into());
    if to == Path::new("-") || to == Path::new("/dev/stdout") {
        return Err(Failure::usage("content goes to a file, not to stdout: name one (`./-` is one named -)"));
    }
    let request = GetRequest {
        key: args.key.clone(),
        to: absolute(&to)?,
        from: args.from.clone(),
        in_place: args.in_place,
    };
    let verb = Verb::new(args.by.show.show()?, ApiRequest::Get(request));
    let (stop, meter) = (Stop::on_signals()?, Meter::new(verb.show));
    let mut by = args.by;
    // A variable is for wherever no peer runs; the option asks for one of the command's own.
    if by.here.tracker.is_some() && (by.here.is_given("tracker") || !one_runs(&by).await?) {
        not_beside_a_peer(&by, "--tracker").await?;
        return get_here(by, args.stay, &args.key, &verb, &meter, &stop).await;
    }
    let folder = folder(&by.state)?;
    let running = api::is_running(&folder).await?;
    // Whoever names a peer to get it from needs no tracker.
    if !running && !args.from.is_empty() {
        by.here.node.reachable_from(&args.from);
        return get_here(by, args.stay, &args.key, &verb, &meter, &stop).await;
    }
    by.here.refuse("--tracker IP:PORT")?;
    if !running {
        let error = ApiError::NotRunning(folder);
        return Err(Failure::run(format!("{error}; or do without: --tracker IP:PORT")));
    }
    let reply = got(&verb, &args.key, &Way::Running(folder), &meter, &stop).await?;
    verb.end(&reply, &stop)
}

/// Whether a peer runs where it would be asked. One in a folder that nobody named is not missed.
///
/// # Errors
/// If that cannot be seen in the folder that was named.
async fn one_runs(by: &ByArgs) -> Result<bool, Failure> {
    if let Some(folder) = &by.state.dir {
        return Ok(api::is_running(folder).await?);
    }
    let Ok(folder) = folder(&by.state) else { return Ok(false) };
    Ok(api::is_running(&folder).await.unwrap_or(false))
}

/// Refuses a peer of the command's own in the folder of one that runs: that one can do it, without
/// these options.
///
/// # Errors
/// If one runs there, or that cannot be seen.
async fn not_beside_a_peer(by: &ByArgs, options: &str) -> Result<(), Failure> {
    let Some(folder) = &by.state.dir else { return Ok(()) };
    if !api::is_running(folder).await? {
        return Ok(());
    }
    Err(Failure::run(format!(
        "a peer is running on {}: leave out {options} to have that one do it, or leave out \
         --dir to have a peer for the time of this command do it",
        folder.display()
    )))
}

/// With a peer in this process.
async fn get_here(
    by: ByArgs,
    stay: Duration,
    key: &Key,
    verb: &Verb,
    meter: &Meter,
    stop: &Stop,
) -> Result<(), Failure> {
    let here = Here::start(by, Some(stay), meter, false)?;
    let reply = got(verb, key, &Way::Here(&here.node), meter, stop).await;
    here.end(reply).await.and_then(|reply| verb.end(&reply, stop))
}

/// Fetches; says, if that did not go well, what its user should know.
async fn got(verb: &Verb, key: &Key, way: &Way<'_>, meter: &Meter, stop: &Stop) -> Result<ApiReply, Failure> {
    let reply = verb.ask(way, meter, stop).await;
    let far = meter.end();
    let reply = reply??;
    if !verb.show.is_for_people() {
        return Ok(reply);
    }
    match &reply {
        ApiReply::Stopped => {
            let far = far.map_or(String::new(), |(here, size)| {
                format!(" with {} of {} here", units::bytes(here), units::bytes(size))
            });
            plain::say!(
                "stopped{far}; the same command goes on from there. To give it up, remove the hidden files \
                 that end in .askaround-part and .askaround-journal where it was to go"
            );
        }
        ApiReply::Error(text) => {
            let why = way.ask(&ApiRequest::Why { key: Some(key.clone()) }, |_| (), stop.token()).await;
            if let Ok(ApiReply::Fetches(fetches)) = why
                && let Some(last) = fetches.last()
            {
                let text = verb.line(text);
                return Err(Failure::run(format!("{text}\n{}", show_fetch::asked(last)).trim_end()));
            }
        }
        _ => {}
    }
    Ok(reply)
}

/// `askaround add`.
///
/// # Errors
/// If something was not added; with --serve, at the end, the signal that ended it.
pub(super) async fn add(args: AddArgs) -> Result<(), Failure> {
    let paths = args.paths.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>()?;
    let show = args.by.show.show()?;
    if !args.serve {
        args.by.here.refuse("--serve")?;
        let folder = folder(&args.by.state)?;
        if !api::is_running(&folder).await? {
            let error = ApiError::NotRunning(folder);
            return Err(Failure::run(format!("{error}; or do without: --serve --tracker IP:PORT")));
        }
        return add_there(show, paths, args.copy, folder).await;
    }
    let Some(tracker) = args.by.here.tracker else {
        return Err(Failure::usage("--serve needs --tracker IP:PORT, by which others find this peer"));
    };
    if args.copy && args.by.state.dir.is_none() {
        return Err(Failure::usage(
            "--copy with --serve needs --dir, a folder for the copy; without --copy the file is served from \
             where it lies",
        ));
    }
    not_beside_a_peer(&args.by, "--serve and --tracker").await?;
    let verb = Verb::new(show, ApiRequest::Add(AddRequest { paths, copy: args.copy }));
    let (stop, meter) = (Stop::on_signals()?, Meter::new(show));
    let here = Here::start(args.by, None, &meter, true)?;
    let way = Way::Here(&here.node);
    let reply = verb.ask(&way, &meter, &stop).await;
    let served = match reply.and_then(|reply| reply.map_err(Failure::from)) {
        Ok(ApiReply::Added(added)) => serve(tracker, &added, &here.node, &meter, &stop).await.map(Ok),
        reply => reply.map(Err),
    };
    meter.end();
    match here.end(served).await? {
        Ok(served) if meter.show == Show::Json => {
            json::line(&served)?;
            Err(Failure::Shown(stop.failure().status()))
        }
        Ok(_) => Err(stop.failure()),
        Err(reply) => verb.end(&reply, &stop),
    }
}

/// With the peer that runs on `folder`: in several requests, if the paths are too many for one, as of
/// a shell's `*`.
async fn add_there(show: Show, paths: Vec<PathBuf>, copy: bool, folder: PathBuf) -> Result<(), Failure> {
    let (stop, meter, way) = (Stop::on_signals()?, Meter::new(show), Way::Running(folder));
    let verb = |paths| Verb::new(show, ApiRequest::Add(AddRequest { paths, copy }));
    let mut all = Vec::new();
    for paths in in_requests(paths) {
        let part = verb(paths);
        match part.ask(&way, &meter, &stop).await?? {
            ApiReply::Added(added) => all.extend(added),
            reply => return part.end(&reply, &stop),
        }
    }
    verb(Vec::new()).end(&ApiReply::Added(all), &stop)
}

/// Paths in their order, as many at once as fit into a request.
fn in_requests(paths: Vec<PathBuf>) -> Vec<Vec<PathBuf>> {
    let mut requests = Vec::new();
    let (mut part, mut length) = (Vec::new(), REST);
    for path in paths {
        // Quoted, and after a comma. What cannot be written at all, the request's writing says.
        let bytes = serde_json::to_string(&path).map_or(0, |text| text.len() + 1);
        if length + bytes > MAX_REQUEST && !part.is_empty() {
            requests.push(std::mem::take(&mut part));
            length = REST;
        }
        length += bytes;
        part.push(path);
    }
    requests.push(part);
    requests
}

/// Says how others get it, and what is being sent, until it is time to end.
async fn serve(
    tracker: SocketAddr,
    added: &[Added],
    node: &Node,
    meter: &Meter,
    stop: &Stop,
) -> Result<ServeResult, Failure> {
    if meter.show.is_for_people() {
        let commands: String = added
            .iter()
            .map(|added| {
                let name = Path::new(&added.path)
                    .file_name()
                    .map_or("content".into(), |name| name.to_string_lossy());
                format!("  askaround get {} -o {} --tracker {tracker}\n", added.blake3, quoted(&name))
            })
            .collect();
        print(&plain::text(&format!("\nTo get it on another machine:\n{commands}\nServes until Ctrl-C.\n")))?;
    }
    let began = Instant::now();
    if meter.show == Show::Json {
        meter.serving(0, 0)?;
    }
    let (mut before, mut look_at) = (0, began + LOOK);
    let mut throughput = Throughput::new(began);
    while !node.has_ended() {
        tokio::select! {
            () = stop.token().cancelled() => break,
            () = tokio::time::sleep(PACE) => {}
        }
        meter.conditions(node.delivery.take_condition_changes())?;
        if Instant::now() >= look_at {
            let begun = Instant::now();
            match node.delivery.look_at_files().await {
                // Why, is known in the end.
                Err(KeepError::Command(CommandError::Ended)) => break,
                looked => looked.map_err(Failure::run)?,
            }
            // Where many files are served, that is not to be all that is done.
            look_at = Instant::now() + LOOK.max(20 * begun.elapsed());
        }
        let sent = node.delivery.sent();
        throughput.came(sent - before);
        let rate = throughput.look(Instant::now());
        if sent != before || meter.show == Show::Bar {
            meter.serving(sent, rate)?;
        }
        before = sent;
    }
    meter.end();
    // Also what was sent since.
    let sent = node.delivery.sent();
    if meter.show.is_for_people() {
        meter.note(&format!("sent {} in all", units::bytes(sent)));
    }
    Ok(ServeResult::Served { sent, seconds: began.elapsed().as_secs_f64() })
}

/// A peer that lasts as long as a command.
struct Here {
    node: Node,
    stop: CancellationToken,
}

impl Here {
    /// Starts it. What it fetches it keeps for others for so long. `tell` has its registration told
    /// as well, and not only that there is none.
    fn start(by: ByArgs, longest_stay: Option<Duration>, meter: &Meter, tell: bool) -> Result<Self, Failure> {
        let HereArgs { tracker, node, .. } = &by.here;
        // Whoever wants a file now did not ask for thousands of connections.
        if by.here.is_given("max-connections")
            && let Some(warning) = node.server.shortage(node.content.connections())
        {
            meter.note(&warning);
        } else if let Some(warning) = few_files() {
            meter.note(&warning);
        }
        let settings = Settings { tracker: *tracker, folder: by.state.dir, longest_stay, node: by.here.node };
        let (stop, meter) = (CancellationToken::new(), meter.clone());
        let node = Node::start(settings, stop.clone(), move |registered, text| {
            if tell || !registered {
                meter.note(text);
            }
        })?;
        Ok(Self { node, stop })
    }

    /// Ends it, after the command came to this.
    ///
    /// # Errors
    /// The command's failure, else the peer's.
    async fn end<T>(self, result: Result<T, Failure>) -> Result<T, Failure> {
        self.stop.cancel();
        let ended = self.node.end().await;
        let result = result?;
        ended.map(|()| result)
    }
}

/// A word as a shell takes it, in characters that a terminal shows.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-+=:@%/".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return word.to_owned();
    }
    let dash = if word.starts_with('-') { "./" } else { "" };
    if plain::name(word) == word {
        return format!("'{dash}{}'", word.replace('\'', "'\\''"));
    }
    let shown = |c: char| match c {
        '\'' | '\\' => format!("\\{c}"),
        c if plain::name(&c.to_string()) == c.to_string() => c.to_string(),
        c => format!("\\U{:08x}", u32::from(c)),
    };
    format!("$'{dash}{}'", word.chars().map(shown).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_into_requests_that_fit() {
        // Of many lengths in JSON for the same length in bytes.
        let name = |n: usize| format!("/{n}/{}", ["a", "\"", "\u{1}", "ü"][n % 4].repeat(n % 150));
        let paths: Vec<PathBuf> = (0..20_000).map(|n| name(n).into()).collect();
        let requests = in_requests(paths.clone());
        let lengths: Vec<_> = requests
            .iter()
            .map(|paths| AddRequest { paths: paths.clone(), copy: true })
            .map(|request| serde_json::to_vec(&ApiRequest::Add(request)).unwrap().len() + 1)
            .collect();
        assert!(lengths.iter().all(|length| *length <= MAX_REQUEST), "{lengths:?}");
        let (_, full) = lengths.split_last().unwrap();
        assert!(
            !full.is_empty() && full.iter().all(|length| *length > MAX_REQUEST - 2 * REST),
            "{lengths:?}"
        );
        assert_eq!(requests.concat(), paths);
        assert_eq!(in_requests(vec!["/a".into()]), [[PathBuf::from("/a")]]);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        let quoted = ["build.tar", "a b", "it's", "-rf", "ünï", "$HOME", "it's\x1b[31mred\n"].map(quoted);
        let expected = [
            "build.tar",
            "'a b'",
            "'it'\\''s'",
            "'./-rf'",
            "ünï",
            "'$HOME'",
            r"$'it\'s\U0000001b[31mred\U0000000a'",
        ];
        assert_eq!(quoted, expected);
    }
}
