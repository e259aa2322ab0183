//! `bootstrapper` and `client`, as the course starts them.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{BOOTSTRAPPER, CLIENT, Running, loopback, scenario, wait_for};

/// A folder to run in and an address of its own.
struct Place {
    folder: tempfile::TempDir,
    loopback: String,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), loopback: loopback() }
    }

    fn start(&self, program: &str, words: &[&str]) -> Running {
        let mut command = Command::new(program);
        command.args(words).current_dir(self.folder.path()).env("ASKAROUND_LOOPBACK", &self.loopback);
        Running::start(&mut command)
    }

    fn client(&self, file: &Path) -> Running {
        self.start(CLIENT, &["-file", file.to_str().unwrap()])
    }

    fn script(&self, id: u64, actions: &str) -> std::path::PathBuf {
        let path = self.folder.path().join(format!("{id}.json"));
        fs::write(&path, format!(r#"{{"client_id": "{id}", "actions": [{actions}]}}"#)).unwrap();
        path
    }

    fn log(&self, name: &str) -> Option<serde_json::Value> {
        let text = fs::read(self.folder.path().join(name)).ok()?;
        Some(serde_json::from_slice(&text).expect("a log on disk is whole"))
    }
}

#[test]
fn the_courses_way_works_and_clients_may_come_before_the_tracker() {
    let place = Place::new();
    let dir = scenario("corner-hint-loop");
    let clients: Vec<_> = (1..=5).map(|n| place.client(&dir.join(format!("{n}.json")))).collect();
    let tracker = place.start(BOOTSTRAPPER, &["--expect", "5"]);
    assert_eq!(tracker.end().0, Some(0));
    for client in clients {
        assert_eq!(client.end(), (Some(0), String::new()));
    }
    for name in ["client_1.json", "client_3.json", "bootstrapper.json"] {
        let expected = fs::read(dir.join("expected_outcomes").join(name)).unwrap();
        assert_eq!(place.log(name).unwrap(), serde_json::from_slice::<serde_json::Value>(&expected).unwrap());
    }
}

#[test]
fn the_paragraphs_form_works() {
    let place = Place::new();
    fs::write(place.folder.path().join("content"), "aa\nbb\n").unwrap();
    fs::write(place.folder.path().join("script"), "1,P,aa\n2,M,7\n").unwrap();
    let client = place.start(CLIENT, &["7", "127.0.0.1", "8888", "content", "script"]);
    let tracker = place.start(BOOTSTRAPPER, &["--expect", "1"]);
    assert_eq!((tracker.end().0, client.end().0), (Some(0), Some(0)));
    let log = place.log("client_7.json").unwrap();
    assert_eq!((&log[1]["text"], &log[2]["text"]), (&"Removed aa".into(), &"Client 7: bb".into()));
}

#[test]
fn a_client_may_start_with_nothing_and_its_script_be_named_in_one_word() {
    let place = Place::new();
    fs::write(place.folder.path().join("content"), "").unwrap();
    fs::write(place.folder.path().join("script"), "1,M,7\n").unwrap();
    let seven = place.start(CLIENT, &["7", "127.0.0.1", "8888", "content", "script"]);
    let file = format!("-file={}", place.script(8, "").display());
    let eight = place.start(CLIENT, &[&file]);
    let tracker = place.start(BOOTSTRAPPER, &["--expect", "2"]);
    assert_eq!((tracker.end().0, seven.end(), eight.end().0), (Some(0), (Some(0), String::new()), Some(0)));
    assert_eq!(place.log("client_7.json").unwrap()[1]["text"], "Client 7: ");
}

#[test]
fn a_second_client_of_one_id_is_refused() {
    let place = Place::new();
    let file = place.script(1, "");
    let tracker = place.start(BOOTSTRAPPER, &["--expect", "2", "--wait", "60"]);
    let first = place.client(&file);
    wait_for("the first to register", || place.log("client_1.json"));
    let (status, said) = place.start(CLIENT, &["--file", file.to_str().unwrap(), "--out", "/tmp"]).end();
    assert_eq!(status, Some(1));
    assert!(said.contains("another peer is registered as client 1"), "{said}");
    drop((tracker, first));
}

#[test]
fn without_a_tracker_a_client_gives_up_and_says_so() {
    let place = Place::new();
    let file = place.script(1, "");
    let (status, said) = place.start(CLIENT, &["--file", file.to_str().unwrap(), "--wait", "0.1"]).end();
    assert_eq!(status, Some(1));
    assert!(said.contains("no tracker at 127.0.0.1:8888"), "{said}");
}

#[test]
fn a_port_in_use_is_named() {
    let place = Place::new();
    let _taken = std::net::TcpListener::bind((place.loopback.as_str(), 8888)).unwrap();
    let (status, said) = place.start(BOOTSTRAPPER, &[]).end();
    assert_eq!(status, Some(1));
    assert!(said.contains("cannot listen on 127.0.0.1:8888"), "{said}");
}

#[test]
fn who_vanishes_is_named_and_the_others_go_on() {
    let place = Place::new();
    // A peer that never says that it has completed: the clock waits for it in timestep 1.
    let tracker = place.start(BOOTSTRAPPER, &["--expect", "2", "--wait", "60"]);
    let good = place.client(&place.script(2, r#"{"time": 2, "code": "L"}"#));
    let mut stalling =
        wait_for("the tracker", || std::net::TcpStream::connect((place.loopback.as_str(), 8888)).ok());
    let hello = "V {\"version\":1}\nR {\"id\":1,\"ip\":\"127.0.0.1\",\"port\":9137,\"script_end\":2}\n";
    std::io::Write::write_all(&mut stalling, hello.as_bytes()).unwrap();
    // The log is there from the beginning, and has an entry once everybody has registered.
    let started = |log: &serde_json::Value| log.as_array().is_some_and(|entries| !entries.is_empty());
    wait_for("the run to start", || place.log("bootstrapper.json").filter(started));
    drop(stalling);
    assert_eq!(good.end().0, Some(0));
    let (status, said) = tracker.end();
    assert_eq!(status, Some(1));
    assert!(said.contains("client 1 was left out in timestep 1: its connection broke"), "{said}");
    assert_eq!(place.log("client_2.json").unwrap().as_array().unwrap().len(), 2);
    assert_eq!(place.log("bootstrapper.json").unwrap().as_array().unwrap().len(), 3);
}

#[test]
fn who_dies_before_the_start_is_named() {
    let place = Place::new();
    let tracker = place.start(BOOTSTRAPPER, &["--expect", "2", "--wait", "60"]);
    let one = place.client(&place.script(1, ""));
    wait_for("the registration", || place.log("client_1.json"));
    one.signal("-KILL");
    one.end();
    // That its connection broke is noticed when it is.
    wait_for("the tracker to notice", || {
        let mut asking = std::net::TcpStream::connect((place.loopback.as_str(), 8888)).ok()?;
        std::io::Write::write_all(&mut asking, b"V {\"version\":1}\nW {\"id\":1}\n").ok()?;
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(asking)).map_while(Result::ok);
        lines.find(|line| !line.starts_with("V ")).filter(|line| line.contains("unknown-peer"))
    });
    let others = [2, 3].map(|id| place.client(&place.script(id, "")));
    let (status, said) = tracker.end();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("client 1 was left out in timestep 0: its connection broke"), "{said}");
    for other in others {
        assert_eq!(other.end(), (Some(0), String::new()));
    }
}

#[test]
fn who_stalls_is_left_out_after_the_step_timeout() {
    let place = Place::new();
    let tracker = place.start(BOOTSTRAPPER, &["--expect", "1", "--wait", "60", "--step-timeout", "0.2"]);
    let mut stalling =
        wait_for("the tracker", || std::net::TcpStream::connect((place.loopback.as_str(), 8888)).ok());
    let hello = "V {\"version\":1}\nR {\"id\":1,\"ip\":\"127.0.0.1\",\"port\":9137,\"script_end\":1}\n";
    std::io::Write::write_all(&mut stalling, hello.as_bytes()).unwrap();
    let (status, said) = tracker.end();
    assert_eq!(status, Some(1));
    assert!(said.contains("client 1 was left out in timestep 1: it took too long"), "{said}");
    let mut heard = String::new();
    std::io::Read::read_to_string(&mut stalling, &mut heard).unwrap();
    assert!(heard.contains("E {\"code\":\"left-out\""), "{heard}");
}

#[test]
fn who_hangs_does_not_take_others_out() {
    let place = Place::new();
    let tracker = place.start(BOOTSTRAPPER, &["--expect", "2", "--wait", "60", "--step-timeout", "10"]);
    let actions: Vec<_> = ["a", "b", "c", "d"]
        .map(|key| format!(r#"{{"time": 1, "code": "Q", "content_id": "{key}"}}"#))
        .into_iter()
        .chain([r#"{"time": 1, "code": "O", "client_id": "1"}"#.to_owned()])
        .collect();
    let script = place.script(2, &actions.join(", "));
    let good = place.start(CLIENT, &["--file", script.to_str().unwrap(), "--step-timeout", "10"]);
    // It keeps to the clock, and whoever asks it is connected and hears nothing.
    let deaf = std::net::TcpListener::bind((place.loopback.as_str(), 0)).unwrap();
    let port = deaf.local_addr().unwrap().port();
    let mut clocked =
        wait_for("the tracker", || std::net::TcpStream::connect((place.loopback.as_str(), 8888)).ok());
    let say = |stream: &mut std::net::TcpStream, text: &str| {
        std::io::Write::write_all(stream, text.as_bytes()).unwrap();
    };
    let register = format!(r#"R {{"id":1,"ip":"127.0.0.1","port":{port},"script_end":1}}"#);
    say(&mut clocked, &format!("V {{\"version\":1}}\n{register}\n"));
    let heard = std::io::BufReader::new(clocked.try_clone().unwrap());
    for line in std::io::BufRead::lines(heard).map_while(Result::ok) {
        if line.starts_with("T ") {
            say(&mut clocked, "C {\"time\":1}\n");
        }
    }
    assert_eq!((tracker.end(), good.end()), ((Some(0), String::new()), (Some(0), String::new())));
    let log = place.log("client_2.json").unwrap();
    let texts: Vec<_> = log.as_array().unwrap()[1..].iter().map(|entry| entry["text"].as_str()).collect();
    let unavailable = ["a", "b", "c", "d"].map(|key| format!("Content {key} is unavailable"));
    let expected: Vec<_> = unavailable.iter().map(|text| Some(text.as_str())).collect();
    assert_eq!(texts, [expected, vec![Some("Client 1 is unreachable")]].concat());
}

#[test]
fn sigterm_ends_nodes_cleanly_with_their_logs_written() {
    let place = Place::new();
    let tracker = place.start(BOOTSTRAPPER, &["--expect", "2", "--wait", "60"]);
    let client = place.client(&place.script(1, ""));
    wait_for("the registration", || place.log("client_1.json"));
    client.signal("-TERM");
    assert_eq!(client.end().0, Some(143));
    assert_eq!(place.log("client_1.json").unwrap()[0]["text"], "Client ID 1 registered");
    tracker.signal("-INT");
    assert_eq!(tracker.end().0, Some(130));
}

#[test]
fn a_tracker_that_vanishes_ends_its_clients_with_their_logs_written() {
    let place = Place::new();
    let tracker = place.start(BOOTSTRAPPER, &["--expect", "2", "--wait", "60"]);
    let client = place.client(&place.script(1, ""));
    wait_for("the registration", || place.log("client_1.json"));
    tracker.signal("-KILL");
    let (status, said) = client.end();
    assert_eq!(status, Some(1));
    assert!(said.contains("lost the tracker"), "{said}");
    assert_eq!(place.log("client_1.json").unwrap().as_array().unwrap().len(), 1);
}
