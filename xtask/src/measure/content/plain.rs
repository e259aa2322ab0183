//! The yardstick of one large file: the same bytes through a socket into a file, without a check.
//! One thread sends as a web server does, by `sendfile`; another receives as `curl` does, by
//! reading and writing.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// The name under which this program is the yardstick.
pub(in crate::measure) const COPY: &str = "plain-copy";
/// What is read at a time.
const BUFFER: usize = 100 * 1024;

/// Copies the first file to the second.
pub(in crate::measure) fn copy(words: &[String]) -> Result<(), String> {
    let [from, to] = words else { return Err("two paths are expected".into()) };
    through_a_socket(from, to).map_err(|e| format!("{from} to {to}: {e}"))
}

fn through_a_socket(from: &str, to: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let mut source = File::open(from)?;
    let mut sink = File::create(to)?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let (mut stream, _) = listener.accept()?;
            std::io::copy(&mut source, &mut stream)
        });
        let mut stream = TcpStream::connect(addr)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            sink.write_all(&buffer[..count])?;
        }
        sender.join().expect("sending does not panic").map(drop)
    })
}
