//! Ten thousand connections that say nothing, against a tracker and a peer as they come.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use support::{ASKAROUND, Running};

const IDLE: u64 = 10_000;
/// Files of this process that are not those connections.
const OTHER_FILES: u64 = 100;

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    // Never reached unless the node is stuck.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

#[test]
fn ten_thousand_idle_connections_leave_room_for_whoever_speaks() {
    let files = rlimit::increase_nofile_limit(IDLE + OTHER_FILES).unwrap();
    let idle = IDLE.min(files - OTHER_FILES);
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let tracker: &[&str] = &["tracker", "--listen", "127.0.0.1:0"];
    let peer = ["peer", "--listen", "127.0.0.1:0", "--tracker", "127.0.0.1:1", "--dir", dir];
    for (words, request, answer) in [
        (tracker, "R {\"id\":1,\"port\":1}\n", "A {\"registered\""),
        (&peer, "Q {\"key\":\"a\"}\n", "A {\"have\""),
    ] {
        // None of them is to be closed for its silence, however slow this machine is.
        let mut node = Running::start(Command::new(ASKAROUND).args(words).args(["--message-timeout", "600"]));
        let mut line = String::new();
        BufReader::new(node.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("listens on ").nth(1).and_then(|rest| rest.split([',', '\n']).next());
        let addr: SocketAddr = address.and_then(|a| a.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        let mut connections: Vec<_> = (0..idle).map(|_| connect(addr)).collect();

        let mut speaker = connect(addr);
        speaker.write_all(format!("V {{\"version\":1}}\n{request}").as_bytes()).unwrap();
        let mut heard = [0; 64];
        let count = speaker.read(&mut heard).unwrap();
        assert!(
            heard[..count].starts_with(answer.as_bytes()),
            "{}",
            String::from_utf8_lossy(&heard[..count])
        );
        if idle == IDLE {
            let closed = connections[0].read(&mut heard);
            assert!(matches!(closed, Ok(0)), "the one that was idle longest makes room: {closed:?}");
        }
        node.signal("-TERM");
        assert_eq!(node.end().0, Some(143));
    }
}
