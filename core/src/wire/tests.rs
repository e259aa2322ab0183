//! The codec against examples of PROTOCOL.md and against whatever a stranger may send.

use proptest::prelude::*;

use super::*;
use crate::Key;
use crate::message::{Answer, ErrorCode, Message, Request};

const EXAMPLES: &[&str] = &[
    r#"R {"id":3,"ip":"127.0.0.1","port":9243}"#,
    r#"R {"id":3,"port":9243,"token":"s","list":50,"script_end":6}"#,
    r#"A {"registered":[3,"127.0.0.1",9243],"lease_s":120}"#,
    r#"A {"registered":[3,"::1",9243],"peers":[]}"#,
    r#"U {"id":3}"#,
    r#"U {"id":3,"token":"s"}"#,
    r#"A {"unregistered":3}"#,
    r#"L {}"#,
    r#"L {"after":2,"limit":2}"#,
    r#"A {"peers":[[3,"127.0.0.1",9243],[4,"127.0.0.1",9241]],"next":4}"#,
    r#"W {"id":4}"#,
    r#"A {"peer":[4,"127.0.0.1",9241]}"#,
    r#"Q {"key":"2a"}"#,
    r#"A {"have":true}"#,
    r#"A {"have":false,"hint":[4,"127.0.0.1",9241]}"#,
    r#"A {"have":false}"#,
    r#"O {}"#,
    r#"M {"limit":3}"#,
    r#"A {"keys":["3a","\"\\"],"next":7}"#,
    r#"E {"code":"unknown-peer","text":"no peer 9","definite":true}"#,
    r#"A {"have":false,"fetching":true}"#,
    r#"A {"have":false,"fetching":true,"hint":[4,"127.0.0.1",9241]}"#,
    r#"D {"key":"2a"}"#,
    r#"A {"content":{"blake3":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262","size":0}}"#,
    r#"A {"content":{"blake3":"af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262","size":0,"md5":"d41d8cd98f00b204e9800998ecf8427e","collection":true,"sparse":true}}"#,
    r#"H {"key":"2a"}"#,
    r#"H {"key":"2a","first":32768}"#,
    r#"A {"hashes":1024}"#,
    r#"I {"key":"2a"}"#,
    r#"I {"key":"2a","id":3,"port":9243}"#,
    r#"A {"pieces":"all"}"#,
    r#"A {"bitmap":128}"#,
    r#"I {"key":"2a","files":true,"id":3,"port":9243}"#,
    r#"N {"key":"2a","pieces":[0,17]}"#,
    r#"N {"key":"2a","files":true,"pieces":[]}"#,
    r#"G {"key":"2a","from":65536,"length":65536}"#,
    r#"G {"key":"2a","from":0,"length":1,"any":true}"#,
    r#"A {"key":"2a","from":65536,"length":65536}"#,
    r#"X {"key":"2a","from":65536,"length":65536}"#,
    "S",
    r#"T {"time":1}"#,
    r#"C {"time":1}"#,
    r#"F {}"#,
];

/// Everything that can be read from `bytes` when they come in pieces of `step`.
fn read_all(decoder: &mut Decoder, bytes: &[u8], step: usize) -> Result<Vec<Message>, WireError> {
    let mut messages = Vec::new();
    for chunk in bytes.chunks(step) {
        decoder.feed(chunk);
        while let Some(message) = decoder.next()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

#[test]
fn every_example_is_written_as_it_is_read() {
    for line in EXAMPLES {
        let messages = read_all(&mut Decoder::client(), format!("{line}\n").as_bytes(), 999);
        let mut out = Vec::new();
        encode(&messages.unwrap_or_else(|e| panic!("{line}: {e}"))[0], &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{line}\n"));
    }
}

#[test]
fn it_does_not_matter_how_the_network_cuts_the_stream() {
    let stream = format!("V {{\"version\":1}}\r\n{}\n", EXAMPLES.join("\n"));
    let whole = read_all(&mut Decoder::server(), stream.as_bytes(), usize::MAX).unwrap();
    assert_eq!(whole.len(), EXAMPLES.len());
    for step in 1..50 {
        let cut = read_all(&mut Decoder::server(), stream.as_bytes(), step).unwrap();
        assert_eq!(cut, whole, "in pieces of {step}");
    }
}

#[test]
fn unknown_fields_and_null_are_ignored_and_unknown_verbs_leave_the_stream_usable() {
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let stream = format!(
        "Q   {{\"key\":\"a\",\"new\":{deep}}}\nNEW {{\"x\":1}}\nL {{\"after\":null}}\nH {{\"key\":\"a\",\"first\":null}}\n"
    );
    let mut decoder = Decoder::client();
    decoder.feed(stream.as_bytes());
    assert!(matches!(decoder.next(), Ok(Some(Message::Request(_)))));
    assert_eq!(decoder.next(), Err(WireError::UnknownVerb("NEW".into())));
    assert!(matches!(decoder.next(), Ok(Some(Message::Request(_)))));
    let all = Request::Hashes { key: Key::new("a").unwrap(), first: 0 };
    assert_eq!(decoder.next(), Ok(Some(Message::Request(all))));
    assert_eq!(decoder.next(), Ok(None));
}

#[test]
fn what_is_not_a_message_gets_its_own_error() {
    for (bytes, code) in [
        (&b"\n"[..], ErrorCode::BadMessage),
        (b"Q\n", ErrorCode::BadMessage),
        (b"Q {\n", ErrorCode::BadMessage),
        (b"Q [\"a\"]\n", ErrorCode::BadMessage),
        (b"Q {\"key\":1}\n", ErrorCode::BadMessage),
        (b"Q {\"key\":\"a b\"}\n", ErrorCode::BadMessage),
        (b"Q {\"key\":\"\xff\"}\n", ErrorCode::BadMessage),
        (b"q {\"key\":\"a\"}\n", ErrorCode::BadMessage),
        (b"L {\"limit\":0}\n", ErrorCode::BadMessage),
        (b"T {\"time\":10001}\n", ErrorCode::BadMessage),
        (b"T {\"time\":1.5}\n", ErrorCode::BadMessage),
        (b"T {\"time\":1.0}\n", ErrorCode::BadMessage),
        (b"T {\"time\":1e2}\n", ErrorCode::BadMessage),
        (b"T {\"time\":NaN}\n", ErrorCode::BadMessage),
        (b"R {\"id\":0,\"port\":1}\n", ErrorCode::BadMessage),
        (b"R {\"id\":1,\"port\":0}\n", ErrorCode::BadMessage),
        (b"A {}\n", ErrorCode::BadMessage),
        (b"G {\"key\":\"a\",\"from\":0,\"length\":0}\n", ErrorCode::BadMessage),
        (b"G {\"key\":\"a\",\"from\":0,\"length\":4194305}\n", ErrorCode::BadMessage),
        (b"G {\"key\":\"a\",\"from\":9007199254740992,\"length\":1}\n", ErrorCode::BadMessage),
        (b"I {\"key\":\"a\",\"port\":0}\n", ErrorCode::BadMessage),
        (b"A {\"hashes\":32769}\n", ErrorCode::BadMessage),
        (b"A {\"bitmap\":524289}\n", ErrorCode::BadMessage),
        (b"A {\"content\":{\"blake3\":\"AF\",\"size\":0}}\n", ErrorCode::BadMessage),
        (b"A {\"peers\":[[3,\"127.0.0.1\",9243],[0,\"127.0.0.1\",9243]]}\n", ErrorCode::BadMessage),
        (b"A {\"peers\":[[3,\"127.0.0.1\",0]]}\n", ErrorCode::BadMessage),
        (b"A {\"keys\":[\"a\",\"b c\"]}\n", ErrorCode::BadMessage),
        (b"V {\"version\":1}\n", ErrorCode::BadMessage),
    ] {
        let error = read_all(&mut Decoder::client(), bytes, 999).unwrap_err();
        assert_eq!(error.to_answer().code, code, "{}", String::from_utf8_lossy(bytes));
    }
    let page = |entries: usize| format!("A {{\"keys\":[{}]}}\n", vec!["\"a\""; entries].join(","));
    assert!(read_all(&mut Decoder::client(), page(256).as_bytes(), 999).is_ok());
    assert!(read_all(&mut Decoder::client(), page(257).as_bytes(), 999).is_err());
    for first in ["L {}\n", "V {\"version\":2}\n", "GET / HTTP/1.1\n"] {
        let error = read_all(&mut Decoder::server(), first.as_bytes(), 999).unwrap_err();
        assert_eq!(error.to_answer().code, ErrorCode::Version, "{first}");
    }
}

#[test]
fn raw_bytes_are_handed_over_as_they_come_and_lines_go_on_behind_them() {
    let stream = b"A {\"bitmap\":3}\nS\n\nL {}\n";
    for step in 1..stream.len() {
        let mut decoder = Decoder::client();
        let (mut raw, mut messages, mut wanted) = (Vec::new(), Vec::new(), 0);
        for chunk in stream.chunks(step) {
            decoder.feed(chunk);
            loop {
                if wanted > 0 {
                    let part = decoder.take_raw(wanted);
                    wanted -= part.len();
                    raw.extend_from_slice(part);
                    if wanted > 0 {
                        break;
                    }
                }
                let Some(message) = decoder.next().unwrap() else { break };
                if let Message::Answer(Answer::Raw(answer)) = &message {
                    wanted = answer.raw_len() as usize;
                }
                messages.push(message);
            }
        }
        assert_eq!((raw.as_slice(), messages.len()), (&b"S\n\n"[..], 2), "in pieces of {step}");
    }
}

#[test]
fn a_line_may_be_exactly_as_long_as_the_limit_and_no_longer() {
    let line = |length: usize| {
        let pad = length - "L {\"x\":\"\"}\n".len();
        format!("L {{\"x\":\"{}\"}}\n", "y".repeat(pad))
    };
    for step in [1000, usize::MAX] {
        let longest = line(MAX_LINE);
        assert_eq!(read_all(&mut Decoder::client(), longest.as_bytes(), step).unwrap().len(), 1);
        let too_long = line(MAX_LINE + 1);
        let error = read_all(&mut Decoder::client(), too_long.as_bytes(), step).unwrap_err();
        assert_eq!(error, WireError::TooLong);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), step in 1usize..40) {
        let _ = read_all(&mut Decoder::client(), &bytes, step);
        let _ = read_all(&mut Decoder::server(), &bytes, step);
    }

    #[test]
    fn damaged_messages_never_panic(which in 0..EXAMPLES.len(), at in 0usize..60, byte in any::<u8>()) {
        let mut line = EXAMPLES[which].as_bytes().to_vec();
        let at = at % line.len();
        line[at] = byte;
        line.push(b'\n');
        let _ = read_all(&mut Decoder::client(), &line, 7);
    }
}
