//! The report as a reader has it: in a real browser, with mouse and keys, light and dark.
//!
//! With `ASKAROUND_SHOTS=FOLDER` in the environment it keeps pictures of what it saw there.

mod driver;
mod play;

use std::path::{Path, PathBuf};
use std::process::Command;

use askaround_core::clock::Turns;
use askaround_core::message::{Answer, HaveAnswer, Message, Request};
use askaround_core::script::Script;
use askaround_core::search::Reason;
use askaround_core::{Key, PeerId};
use askaround_lab::report::html;
use askaround_lab::report::model::Report;
use askaround_lab::trace::{Event, Header, Host, How, Member, Trace, What};
use driver::{Driver, Page};
use fantoccini::actions::{InputSource, MouseActions, PointerAction};
use fantoccini::key::Key as Press;
use play::{play, scenario};

struct Pages {
    folder: tempfile::TempDir,
}

impl Pages {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, trace: &Trace) -> PathBuf {
        let mut bytes = Vec::new();
        html::write(&Report::of(trace), &mut bytes).unwrap();
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

async fn keep(page: &Page, name: &str) {
    if let Some(folder) = std::env::var_os("ASKAROUND_SHOTS") {
        let picture = page.0.screenshot().await.unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), picture).unwrap();
    }
}

#[test]
fn a_report_works_in_a_real_browser() {
    let pages = Pages::new();
    let campus = pages.write("campus.html", &play(&scenario("campus-20"), Turns::ById).0);
    let hostile = pages.write("hostile.html", &hostile());
    let large = pages.write("large.html", &large(200, 120));
    let driver = Driver::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        driver
            .with_browser(false, |page| async move {
                page.open(&campus).await;
                whole_page(&page).await;
                filters(&page).await;
                mouse(&page).await;
                keys(&page).await;
                searches(&page).await;
                other_parts(&page).await;
                page.open(&hostile).await;
                nothing_breaks_out(&page).await;
                page.open(&large).await;
                large_runs_open_filtered(&page).await;
            })
            .await;
        let campus = pages.folder.path().join("campus.html");
        driver
            .with_browser(true, |page| async move {
                page.open(&campus).await;
                dark_and_light(&page).await;
            })
            .await;
    });
}

/// A stand-in for chromedriver that runs `script`.
fn stand_in(script: &str, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).current_dir(folder);
    command
}

#[test]
fn a_driver_that_finds_its_port_taken_is_started_anew() {
    let folder = tempfile::tempdir().unwrap();
    let script = "[ -e tried ] && echo 'ChromeDriver was started successfully on port 7.' && exec sleep 1000
                  touch tried; echo 'IPv6 port not available. Exiting...'; exit 1";
    Driver::start_with(|| stand_in(script, folder.path()));
    assert!(folder.path().join("tried").exists());
}

#[test]
#[should_panic(expected = "IPv6 port not available. Exiting...\nbind() failed\n(exit status: 1)")]
fn a_driver_that_never_starts_is_reported_with_all_that_it_printed() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo 'IPv6 port not available. Exiting...'; echo 'bind() failed' >&2; exit 1";
    Driver::start_with(|| stand_in(script, folder.path()));
}

/// How many messages the diagram shows.
async fn shown(page: &Page) -> String {
    page.attribute("#canvas", "aria-description").await
}

/// Whether something is drawn, and what it looks like.
async fn picture(page: &Page) -> String {
    // After the frame in which the page draws.
    let script = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => \
                  done(document.getElementById('canvas').toDataURL())));";
    page.0.execute_async(script, Vec::new()).await.unwrap().as_str().unwrap().to_owned()
}

async fn whole_page(page: &Page) {
    assert_eq!(page.text("h1").await, "campus-20");
    let facts = page.text("#facts").await;
    assert!(facts.starts_with("20 peers · 12 timesteps · 1,426 messages · 30 searches"), "{facts}");
    assert_eq!(page.text("#verdict").await, "All 21 logs are as expected.");
    // The last thing that the scripts do is to list the logs.
    assert_eq!(page.count("details.log").await, 21);
    let loaded = page.run("return performance.getEntriesByType('resource').length").await;
    assert_eq!(loaded, 0, "the page loads nothing");
    let wide = page.run("return document.documentElement.scrollWidth <= innerWidth").await;
    assert_eq!(wide, true, "the page is not wider than the window");
    keep(page, "campus-light").await;
}

async fn filters(page: &Page) {
    assert_eq!(shown(page).await, "906 messages between 21 hosts", "without the clock");
    let before = picture(page).await;
    page.click("#legend button:first-child").await;
    assert_eq!(shown(page).await, "1,426 messages between 21 hosts", "with the clock");
    assert_ne!(picture(page).await, before);
    page.click("#reset").await;
    page.keys("#f-times", "1").await;
    page.until(
        "a timestep",
        "return document.getElementById('canvas').getAttribute('aria-description').startsWith('1')",
    )
    .await;
    page.keys("#f-peers", "99").await;
    page.until("an error", "return document.getElementById('filter-error').textContent.includes('99')").await;
    page.click("#reset").await;
    page.keys("#f-peers", "3, tracker, 5-6").await;
    page.until(
        "peers",
        "return !document.getElementById('canvas').getAttribute('aria-description').startsWith('906')",
    )
    .await;
    page.click("#reset").await;
    page.keys("#f-key", "e46087068a0dc6b47b693a9a042fe8af").await;
    page.until(
        "a key",
        "return document.getElementById('canvas').getAttribute('aria-description').endsWith('9 hosts')",
    )
    .await;
    keep(page, "campus-key").await;
    page.click("#reset").await;
    assert_eq!(shown(page).await, "906 messages between 21 hosts");
    let before = picture(page).await;
    page.click("#zoom-all").await;
    let all = picture(page).await;
    page.click("#zoom-in").await;
    let closer = picture(page).await;
    page.click("#axis-time").await;
    let by_time = picture(page).await;
    assert!(before != all && all != closer && closer != by_time && by_time.len() > 2000);
    keep(page, "campus-time").await;
    page.click("#axis-order").await;
}

async fn mouse(page: &Page) {
    let canvas = page.0.find(fantoccini::Locator::Id("canvas")).await.unwrap();
    page.run("document.getElementById('diagram').scrollIntoView({ behavior: 'instant' })").await;
    // Somewhere along the middle of the diagram a message is met.
    let mut met = None;
    for x in (-300..300).step_by(10) {
        let moves = MouseActions::new("mouse".into()).then(PointerAction::MoveToElement {
            element: canvas.clone(),
            duration: None,
            x: f64::from(x),
            y: -120.0,
        });
        page.0.perform_actions(moves).await.unwrap();
        if page.run("return !document.getElementById('tip').hidden").await == true {
            met = Some(page.text("#tip").await);
            break;
        }
    }
    let tip = met.expect("a message under the pointer");
    assert!(tip.contains(" → ") && tip.contains("timestep 1"), "{tip}");
    keep(page, "campus-tip").await;
}

async fn keys(page: &Page) {
    page.keys("#canvas", &String::from(char::from(Press::Home))).await;
    let first = page.text("#detail").await;
    assert!(first.contains("peer 1 → the tracker") && first.contains("R: register"), "{first}");
    page.keys("#canvas", &String::from(char::from(Press::Right))).await;
    assert_ne!(page.text("#detail").await, first);
    let before = picture(page).await;
    page.keys("#canvas", "+").await;
    assert_ne!(picture(page).await, before);
    page.keys("#canvas", "0").await;
    page.keys("#s-list", &String::from(char::from(Press::Down))).await;
    let chosen = page.attribute("#s-list [aria-selected=true]", "id").await;
    assert_eq!(chosen, "search-1");
    // Everything that can be pressed can be reached with Tab.
    let unreachable = "return [...document.querySelectorAll('button, input, a, summary')].filter((e) => e.tabIndex < 0).length";
    assert_eq!(page.run(unreachable).await, 0);
}

async fn searches(page: &Page) {
    page.keys("#s-filter", "peer 3 timestep 5").await;
    assert_eq!(page.text("#s-count").await, "1 of 30 searches");
    page.click("#s-list .row").await;
    let tree = page.text("#s-tree").await;
    assert!(tree.contains("Peer 3 looks for e46087068a0dc6b47b693a9a042fe8af"), "{tree}");
    assert!(tree.contains("hint: peer 8") && tree.contains("have it"), "{tree}");
    assert_eq!(page.count("#s-tree li.path").await, 2, "the hint, and who has it");
    assert_eq!(page.text("#s-tree li.path li.path .who").await, "8", "below who hinted at it");
    page.run("document.getElementById('searches').scrollIntoView({ behavior: 'instant' })").await;
    keep(page, "campus-search").await;
    page.click("#s-tree button").await;
    assert_eq!(shown(page).await, "6 messages between 4 hosts");
    assert!(page.text("#f-search").await.contains("search of peer 3, timestep 5"));
    page.click("#f-search button").await;
    assert_eq!(shown(page).await, "906 messages between 21 hosts");
}

async fn other_parts(page: &Page) {
    page.keys("#h-filter", "e46087068").await;
    assert_eq!(page.text("#h-count").await, "1 of 41 keys");
    page.click("#h-table tbody button").await;
    let who = page.text("#h-table .who-row").await;
    assert!(who.contains("peer 8: from the start") && who.contains("got from peer 8"), "{who}");
    page.run("document.getElementById('holdings').scrollIntoView({ behavior: 'instant' })").await;
    keep(page, "campus-holdings").await;
    assert_eq!(page.count("#m-table tbody tr").await, 22);
    page.click("#m-table th:nth-child(2) button").await;
    assert_eq!(page.text("#m-table tbody tr:nth-child(2) td").await, "tracker", "it sends most of the clock");
    keep(page, "campus-messages").await;
    page.click("details.log:nth-child(2) summary").await;
    page.until("a log", "return document.querySelectorAll('details.log[open] td').length > 0").await;
    let log = page.text("details.log:nth-child(2)").await;
    assert!(log.contains("client_1.json") && log.contains("Client ID 1 registered"), "{log}");
}

async fn nothing_breaks_out(page: &Page) {
    assert_eq!(page.0.title().await.unwrap(), "<img src=x onerror=alert(1)>");
    assert_eq!(page.text("h1").await, "<img src=x onerror=alert(1)>");
    assert_eq!(page.count("img").await, 0);
    assert_eq!(page.run("return window.owned === undefined").await, true);
    assert!(page.text("#s-list").await.contains("</script><script>window.owned=1</script>"));
    assert!(
        page.text("#verdict").await.contains("1 of 1 log differs from what is expected: client_1.json"),
        "{}",
        page.text("#verdict").await
    );
    assert!(page.text("#l-list").await.contains("<b>expected</b>"));
    keep(page, "hostile").await;
}

async fn large_runs_open_filtered(page: &Page) {
    let notice = page.text("#notice").await;
    assert!(
        notice.starts_with("200 peers and 48,000 messages are more than can be read at once."),
        "{notice}"
    );
    assert_eq!(shown(page).await, "240 messages between 2 hosts", "one search, which no log ends");
    page.click("#notice button").await;
    assert_eq!(shown(page).await, "48,000 messages between 200 hosts");
    let before = picture(page).await;
    page.click("#zoom-all").await;
    assert_ne!(picture(page).await, before);
    keep(page, "large").await;
    page.keys("#f-times", "77").await;
    page.until(
        "a timestep",
        "return document.getElementById('canvas').getAttribute('aria-description').startsWith('400 ')",
    )
    .await;
}

async fn dark_and_light(page: &Page) {
    let background = "return getComputedStyle(document.body).backgroundColor";
    assert_eq!(page.attribute("html", "data-theme").await, "dark", "as the system has it");
    let dark = (page.run(background).await, picture(page).await);
    keep(page, "campus-dark").await;
    page.click("#theme").await;
    assert_eq!(page.attribute("html", "data-theme").await, "light");
    let light = (page.run(background).await, picture(page).await);
    assert!(dark.0 != light.0 && dark.1 != light.1, "page and diagram change");
}

fn id(n: u64) -> PeerId {
    PeerId::new(n).unwrap()
}

fn member(n: u64) -> Member {
    let addr = ([127, 0, 0, 1], 9000 + u16::try_from(n).unwrap()).into();
    Member { addr, script: Script { id: id(n), content: Vec::new(), actions: Vec::new() } }
}

fn trace(name: &str, peers: u64, events: Vec<Event>) -> Trace {
    let header = Header {
        name: name.into(),
        about: Some("<script>window.owned=1</script>".into()),
        how: How::Simulated,
        peers: (1..=peers).map(member).collect(),
        expected: Default::default(),
    };
    Trace { header, events, cut_off: false }
}

/// Peer `from` asks peer `to` for a key and is told that it has it.
fn question(events: &mut Vec<Event>, time: u32, from: u64, to: u64, key: &Key) {
    let number = events.len() as u64;
    let (from, to) = (Host::Peer(id(from)), Host::Peer(id(to)));
    let body = Message::Request(Request::Have(key.clone()));
    let have = Message::Answer(Answer::Have(HaveAnswer::Have));
    let whats = [
        (from, What::Send { message: number, to, body, answers: None, why: Some(Reason::Listed) }),
        (to, What::Receive { message: number, from }),
        (to, What::Send { message: number + 1, to: from, body: have, answers: Some(number), why: None }),
        (from, What::Receive { message: number + 1, from: to }),
    ];
    for (host, what) in whats {
        events.push(Event { at_ns: events.len() as u64 * 1000, time, host, what });
    }
}

/// What would break out of a page that takes text for HTML.
fn hostile() -> Trace {
    use askaround_core::log::LogEntry;
    let mut events = Vec::new();
    question(&mut events, 1, 1, 2, &Key::new("</script><script>window.owned=1</script>").unwrap());
    let text = "<img src=x onerror=window.owned=1>".to_owned();
    let what = What::Log(LogEntry { time: 1, text });
    events.push(Event { at_ns: 9000, time: 1, host: Host::Peer(id(1)), what });
    let mut trace = trace("<img src=x onerror=alert(1)>", 2, events);
    let expected = vec![LogEntry { time: 1, text: "<b>expected</b>".into() }];
    trace.header.expected.insert("client_1.json".into(), expected);
    trace
}

/// In every timestep every peer asks the next one.
fn large(peers: u64, times: u32) -> Trace {
    let mut events = Vec::new();
    let key = |n: u64| Key::new(&format!("key-{n}")).unwrap();
    for time in 1..=times {
        for n in 1..=peers {
            question(&mut events, time, n, n % peers + 1, &key(n));
        }
    }
    trace("large", peers, events)
}
