//! The tracker under load over loopback, a connection a request and pipelined over kept ones,
//! against an echo server that sends as many bytes back and does nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::program::Running;
use super::{RUNS, Row, median};
use crate::release::askaround;

/// The name under which this program is its own echo server.
pub(super) const ECHO: &str = "echo-server";
const HELLO: &str = "V {\"version\":1}\n";
/// One, so that on a machine with two cores the load does not take turns with the server.
const THREADS: usize = 1;
const CONNECTIONS_EACH: usize = 16_000;
/// How many of them each load thread has open at a time.
const AT_ONCE: usize = 64;
const KEPT: usize = 16;
const BATCH: usize = 100;
const BATCHES: usize = 400;
const READ_AT_ONCE: usize = 64 * 1024;
const IDLE: usize = 8000;

/// A program that is put under load.
struct Server {
    program: Running,
    addr: SocketAddr,
}

impl Server {
    fn start(command: &mut Command) -> Result<Self, String> {
        let (program, addr) = Running::server(command, "listens on ")?;
        let addr = addr.parse().map_err(|_| format!("a server listens on {addr:?}"))?;
        Ok(Self { program, addr })
    }

    fn tracker() -> Result<Self, String> {
        Self::start(Command::new(askaround()).args(["tracker", "--listen", "127.0.0.1:0"]))
    }

    fn echo() -> Result<Self, String> {
        let me = std::env::current_exe().map_err(|e| e.to_string())?;
        Self::start(Command::new(me).args(["bench", ECHO]))
    }
}

pub(super) fn tracker(rows: &mut Vec<Row>) -> Result<(), String> {
    idle(rows)?;
    let echo = Server::echo()?;
    for peers in [1_000u64, 1_000_000] {
        let tracker = Server::tracker()?;
        let before = tracker.program.rss_bytes();
        fill(tracker.addr, peers)?;
        rows.push(Row {
            name: format!("tracker, {peers} peers, memory"),
            figure: (tracker.program.rss_bytes() - before) / peers as f64,
            unit: "bytes a peer",
            against: "-".into(),
            note: "growth of the resident set".into(),
        });
        let register = |id: u64, list: &str| format!("R {{\"id\":{id},\"port\":7000{list}}}\n");
        for (what, list, answer) in [("register", "", 60), ("register and list 50", ",\"list\":50", 1400)] {
            let request = |n: u64| register(n * 7919 % peers + 1, list);
            let name = format!("tracker, {peers} peers, {what}");
            let echoed = |n: u64| echo_request(&request(n), answer);
            let each = measure(
                (&tracker, &|addr| connection_each(addr, &request)),
                (&echo, &|addr| connection_each(addr, &echoed)),
            )?;
            push(rows, format!("{name}, a connection each"), &each, 30_000.0);
            let kept = measure(
                (&tracker, &|addr| pipelined(addr, &request)),
                (&echo, &|addr| pipelined(addr, &echoed)),
            )?;
            push(rows, format!("{name}, pipelined"), &kept, 150_000.0);
        }
    }
    Ok(())
}

/// What a connection costs that has been answered once and says nothing more.
fn idle(rows: &mut Vec<Row>) -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    rlimit::increase_nofile_limit(IDLE as u64 + 100).map_err(text)?;
    let tracker = Server::tracker()?;
    let before = tracker.program.rss_bytes();
    let mut connections = Vec::new();
    for _ in 0..IDLE {
        let mut stream = connect(tracker.addr).map_err(text)?;
        stream.write_all(format!("{HELLO}L {{}}\n").as_bytes()).map_err(text)?;
        stream.read(&mut [0; 256]).map_err(text)?;
        connections.push(stream);
    }
    rows.push(Row {
        name: format!("tracker, {IDLE} idle connections, memory"),
        figure: (tracker.program.rss_bytes() - before) / IDLE as f64,
        unit: "bytes each",
        against: "-".into(),
        note: "growth of the resident set; without the system's own buffers".into(),
    });
    Ok(())
}

fn push(rows: &mut Vec<Row>, name: String, rate: &Rate, target: f64) {
    rows.push(Row {
        name,
        figure: rate.a_cpu_second,
        unit: "a CPU-second",
        against: format!("target {target}: x{:.2}", rate.a_cpu_second / target),
        note: format!(
            "{:.0} a second; x{:.2} of the echo server's rate a CPU-second",
            rate.a_second, rate.of_echo
        ),
    });
}

/// Medians of requests.
struct Rate {
    a_second: f64,
    a_cpu_second: f64,
    /// The ratio of the rates a CPU-second, pair by pair.
    of_echo: f64,
}

type Load<'a> = (&'a Server, &'a dyn Fn(SocketAddr) -> Result<usize, String>);

/// Ours and the echo server in turn, so that whatever else the machine does meets both.
fn measure(ours: Load<'_>, echo: Load<'_>) -> Result<Rate, String> {
    let (mut seconds, mut cpu_seconds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (a_second, a_cpu_second) = once(ours)?;
        let (_, echo_a_cpu_second) = once(echo)?;
        seconds.push(a_second);
        cpu_seconds.push(a_cpu_second);
        ratios.push(a_cpu_second / echo_a_cpu_second);
    }
    Ok(Rate { a_second: median(seconds), a_cpu_second: median(cpu_seconds), of_echo: median(ratios) })
}

/// Requests a second, and a CPU-second of the server.
fn once((server, load): Load<'_>) -> Result<(f64, f64), String> {
    let (begin, cpu) = (Instant::now(), server.program.cpu_s());
    let requests = load(server.addr)? as f64;
    Ok((requests / begin.elapsed().as_secs_f64(), requests / (server.program.cpu_s() - cpu)))
}

/// Runs `work` on each of the load threads and adds up what they did.
fn threads(work: impl Fn(u64) -> std::io::Result<usize> + Sync) -> Result<usize, String> {
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..THREADS as u64)
            .map(|n| {
                scope.spawn({
                    let work = &work;
                    move || work(n)
                })
            })
            .collect();
        let mut total = 0;
        for thread in running {
            total +=
                thread.join().map_err(|_| "a load thread panicked")?.map_err(|e| format!("load: {e}"))?;
        }
        Ok(total)
    })
}

fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

fn connection_each(addr: SocketAddr, request: &(impl Fn(u64) -> String + Sync)) -> Result<usize, String> {
    threads(|thread| {
        let mut buffer = [0; 8192];
        let mut open = Vec::with_capacity(AT_ONCE);
        for n in 0..CONNECTIONS_EACH as u64 {
            let mut stream = connect(addr)?;
            stream.write_all(format!("{HELLO}{}", request(n * THREADS as u64 + thread)).as_bytes())?;
            open.push(stream);
            if open.len() < AT_ONCE {
                continue;
            }
            for mut stream in open.drain(..) {
                let mut got = 0;
                while got == 0 || buffer[got - 1] != b'\n' {
                    let count = stream.read(&mut buffer[got..])?;
                    if count == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                    got += count;
                }
                assert_ne!(buffer[0], b'E', "{}", String::from_utf8_lossy(&buffer[..got]));
            }
        }
        Ok(CONNECTIONS_EACH)
    })
}

fn pipelined(addr: SocketAddr, request: &(impl Fn(u64) -> String + Sync)) -> Result<usize, String> {
    threads(|thread| {
        let mut kept = Vec::new();
        for _ in 0..KEPT / THREADS {
            let mut stream = connect(addr)?;
            stream.write_all(HELLO.as_bytes())?;
            kept.push(stream);
        }
        let mut buffer = vec![0; 256 * 1024];
        let mut n = thread;
        for _ in 0..BATCHES {
            for stream in &mut kept {
                let mut batch = String::new();
                for _ in 0..BATCH {
                    batch += &request(n);
                    n += THREADS as u64;
                }
                stream.write_all(batch.as_bytes())?;
            }
            for stream in &mut kept {
                let mut lines = 0;
                while lines < BATCH {
                    let count = stream.read(&mut buffer)?;
                    if count == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                    lines += memchr::memchr_iter(b'\n', &buffer[..count]).count();
                }
            }
        }
        Ok(BATCHES * kept.len() * BATCH)
    })
}

/// Registers ids 1 to `peers`.
fn fill(addr: SocketAddr, peers: u64) -> Result<(), String> {
    let mut stream = connect(addr).map_err(|e| e.to_string())?;
    stream.write_all(HELLO.as_bytes()).map_err(|e| e.to_string())?;
    let mut buffer = vec![0; 256 * 1024];
    let mut next = 1;
    while next <= peers {
        let end = peers.min(next + 499);
        let batch: String = (next..=end).map(|id| format!("R {{\"id\":{id},\"port\":7000}}\n")).collect();
        stream.write_all(batch.as_bytes()).map_err(|e| e.to_string())?;
        let mut lines = 0;
        while lines < end - next + 1 {
            let count = stream.read(&mut buffer).map_err(|e| e.to_string())?;
            lines += memchr::memchr_iter(b'\n', &buffer[..count]).count() as u64;
            if count == 0 {
                return Err("the tracker closed the connection".into());
            }
        }
        next = end + 1;
    }
    Ok(())
}

/// The same bytes as `request`, but asking the echo server for a line of `answer` bytes.
fn echo_request(request: &str, answer: usize) -> String {
    let number = format!("{answer} ");
    let padding = "x".repeat(request.len().saturating_sub(number.len() + 1));
    format!("{number}{padding}\n")
}

/// Answers each line that begins with a number with a line of so many bytes, and does nothing
/// else. On one thread, like the tracker.
pub(super) fn echo_server() -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|e| e.to_string())?;
        println!("echo listens on {}", listener.local_addr().map_err(|e| e.to_string())?);
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: tokio::net::TcpStream) {
    let _ = stream.set_nodelay(true);
    let (mut buffer, mut out) = (Vec::with_capacity(READ_AT_ONCE), Vec::new());
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &buffer) {
            // A tracker's client says hello first; here that line has no number, and no answer.
            if let Some(length) = leading_number(&buffer[start..end]) {
                out.resize(out.len() + length.saturating_sub(1), b'x');
                out.push(b'\n');
            }
            start = end + 1;
        }
        buffer.drain(..start);
        if stream.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
    }
}

fn leading_number(line: &[u8]) -> Option<usize> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&line[..digits]).ok()?.parse().ok()
}
