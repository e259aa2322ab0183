//! What cannot be got, or not there, or not yet: what is said, and what is left.

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::content::{bytes, json_lines, write};
use support::net::{Net, start};
use support::serving::{Serving, assert_fails, key_of};
use support::{ASKAROUND, run, stderr, stdout};

#[test]
fn a_destination_that_is_taken_is_wrong_use_and_stays_as_it_is() {
    let user = tempfile::tempdir().unwrap();
    let serving = Serving::new(&write(user.path(), "source", &bytes(100_000)), &[]);
    let taken = write(user.path(), "taken", b"mine");
    assert_fails(&run(ASKAROUND, &serving.get(&taken, &[])), 2, "is there already");
    assert_fails(&run(ASKAROUND, &serving.get(&taken, &["--in-place"])), 2, "is there already");
    let same = write(user.path(), "same", &bytes(100_000));
    // As a fetch leaves it that is killed in its last moment.
    write(user.path(), ".same.askaround-journal", b"");
    for more in [[].as_slice(), &["--in-place"]] {
        let output = run(ASKAROUND, &serving.get(&same, more));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("nothing had to be fetched"), "{}", stdout(&output));
    }
    assert_eq!(std::fs::read(&taken).unwrap(), b"mine");
    let folder = user.path().to_str().unwrap();
    assert_fails(&run(ASKAROUND, &serving.get(folder, &[])), 2, "is a folder");
    let nowhere = user.path().join("no/where");
    assert_fails(&run(ASKAROUND, &serving.get(nowhere.to_str().unwrap(), &[])), 2, "no such file or folder");
    assert_eq!(std::fs::read_dir(user.path()).unwrap().count(), 3, "something was left behind");
}

#[test]
fn what_nobody_has_is_not_found_and_a_key_that_is_none_is_wrong_use() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let to = user.path().join("to");
    let to = to.to_str().unwrap();
    let key = "0b".repeat(32);
    net.assert_says(0, &["get", &key, "-o", to], 1, "nobody has");
    net.assert_says(0, &["why", &key], 0, "nobody has");
    // For programs and for whoever looks why they ended.
    let output = net.verb(0, &["get", &key, "-o", to, "--json"]);
    assert!(stderr(&output).starts_with("askaround: nobody has"), "{}", stderr(&output));
    let error = json_lines(&stdout(&output)).pop().unwrap();
    assert!(error["error"].as_str().unwrap().starts_with("nobody has"), "{error}");
    net.assert_says(0, &["get", "0b0b", "-o", to], 2, "not 4 digits");
    let here = ["get", &key, "-o", to, "--listen", "127.0.0.1:0"];
    let alone = run(ASKAROUND, &[&here[..], &["--tracker", &net.tracker]].concat());
    assert_fails(&alone, 1, "nobody has");
    // A port that nobody listens on: it was ours a moment ago.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert_fails(
        &run(ASKAROUND, &[&here[..], &["--tracker", &nobody]].concat()),
        1,
        "the tracker  not reachable",
    );
    let empty = tempfile::tempdir().unwrap();
    let output = run(ASKAROUND, &["get", &key, "-o", to, "--dir", empty.path().to_str().unwrap()]);
    assert_fails(&output, 1, "or do without: --tracker IP:PORT");
    let output = run(ASKAROUND, &["add", to, "--dir", empty.path().to_str().unwrap()]);
    assert_fails(&output, 1, "or do without: --serve --tracker IP:PORT");
    assert!(!Path::new(to).exists());
}

#[test]
fn without_its_tracker_a_peer_asks_those_it_knows() {
    let (mut net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let [known, other] = ["known", "other"].map(|name| write(user.path(), name, name.as_bytes()));
    let [known, other] = [known, other].map(|path| key_of(&net.verb(0, &["add", "-q", &path])));
    let to = |name: &str| user.path().join(name).to_str().unwrap().to_owned();
    // Whom something was got from is known.
    net.assert_says(1, &["get", &known, "-o", &to("a")], 0, "got ");
    net.kill_tracker();
    net.assert_says(1, &["peers"], 1, "the tracker: not reachable");
    net.assert_says(1, &["find", &other], 0, "found");
    net.assert_says(1, &["get", &other, "-o", &to("b")], 0, "got ");
    assert_eq!(std::fs::read(to("b")).unwrap(), b"other");
    let key = "0b".repeat(32);
    net.assert_says(1, &["get", &key, "-o", &to("c")], 1, "the tracker did not say who is online");
    net.assert_says(1, &["why", &key], 0, "not reachable");
    net.assert_says(1, &["find", &key], 1, "but the tracker did not say who is online: not reachable");
    net.peers[0] = None;
    net.assert_says(1, &["find", &key], 1, "; 1 peer did not answer)");
    let said = format!("nobody has {key}: 1 peer was asked; 1 peer did not answer; the tracker");
    net.assert_says(1, &["get", &key, "-o", &to("d")], 1, &said);
}

#[test]
fn a_file_that_is_gone_or_changed_is_not_got_from_its_peer() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    for name in ["gone", "changed", "shorter"] {
        let path = write(user.path(), name, &bytes(200_000));
        let key = key_of(&net.verb(0, &["add", "-q", &path]));
        match name {
            "gone" => std::fs::remove_file(&path).unwrap(),
            "changed" => std::fs::write(&path, vec![0; 200_000]).unwrap(),
            _ => std::fs::File::options().write(true).open(&path).unwrap().set_len(100_000).unwrap(),
        }
        let to = user.path().join("to");
        net.assert_says(1, &["get", &key, "-o", to.to_str().unwrap()], 1, "no content of this key is here");
        net.assert_says(1, &["find", &key], 1, "nobody has");
        assert!(!to.exists());
        net.assert_says(0, &["purge", &key], 0, "purged");
    }
    assert_eq!(std::fs::read_dir(user.path()).unwrap().count(), 2, "something was left behind");
}

#[test]
fn a_link_in_the_destination_leads_nothing_out_of_it() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let (folder, outside) = (user.path().join("folder"), user.path().join("outside"));
    write(&folder, "sub/x", b"x");
    write(&folder, "y", b"y");
    let key = key_of(&net.verb(0, &["add", "-q", folder.to_str().unwrap()]));
    std::fs::create_dir(&outside).unwrap();
    for (link, leads_to) in [("sub", outside.clone()), ("y", outside.join("y"))] {
        let to = user.path().join(format!("to {link}"));
        std::fs::create_dir(&to).unwrap();
        std::os::unix::fs::symlink(leads_to, to.join(link)).unwrap();
        net.assert_says(1, &["get", &key, "-o", to.to_str().unwrap()], 2, "is a symbolic link");
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1, "something was left behind");
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

/// Runs this script where the folder is a file system of its own, so small.
fn in_small_folder(folder: &Path, size: &str, script: &str) -> Output {
    let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$FOLDER\" || exit 99\n{script}");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]);
    command.env("FOLDER", folder).env("ASKAROUND", ASKAROUND).output().unwrap()
}

#[test]
fn a_destination_that_cannot_be_written_is_wrong_use_and_named() {
    let (net, user) = (Net::new(2), tempfile::tempdir().unwrap());
    let (file, folder) = (write(user.path(), "file", &bytes(100_000)), user.path().join("folder"));
    write(&folder, "x", b"x");
    let keys = [&file, folder.to_str().unwrap()].map(|path| key_of(&net.verb(0, &["add", "-q", path])));
    let below_a_file = format!("{file}/to");
    let long_name = format!("{}/{}", user.path().display(), "n".repeat(256));
    for key in &keys {
        let here = ["get", key, "--tracker", &net.tracker, "--listen", "127.0.0.1:0"];
        for (to, expected) in [
            (below_a_file.as_str(), format!("{file}: is not a folder")),
            ("/proc/self/no/to", "/proc/self/no: there is no such file or folder".into()),
            (long_name.as_str(), format!("{long_name}: the name is too long")),
        ] {
            let alone = run(ASKAROUND, &[&here[..], &["-o", to]].concat());
            for output in [net.verb(1, &["get", key, "-o", to]), alone] {
                assert_fails(&output, 2, &format!("askaround: {expected}"));
                assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
            }
        }
        let small = user.path().join("small");
        std::fs::create_dir_all(&small).unwrap();
        let (words, place) = (here.join(" "), small.display());
        let script = format!(
            "mount -o remount,ro \"$FOLDER\"; $ASKAROUND {words} -o {place}/to; echo $?; ls -A {place}"
        );
        let output = in_small_folder(&small, "1M", &script);
        assert_eq!(stdout(&output), "2\n", "{}", stderr(&output));
        let report = stderr(&output);
        let report = report.lines().filter(|line| line.starts_with("askaround: ")).collect::<Vec<_>>();
        let [report] = report[..] else { panic!("{}", stderr(&output)) };
        assert!(report.contains("/small/") && report.contains("the file system is read-only"), "{report}");
    }
}

#[test]
fn what_is_whole_where_nothing_can_be_written_is_found_there() {
    let (net, user) = (Net::new(1), tempfile::tempdir().unwrap());
    let (file, folder) = (write(user.path(), "file", &bytes(100_000)), user.path().join("folder"));
    write(&folder, "sub/x", &bytes(100_000));
    let there = user.path().join("there");
    std::fs::create_dir(&there).unwrap();
    for path in [file.as_str(), folder.to_str().unwrap()] {
        let key = key_of(&net.verb(0, &["add", "-q", path]));
        let script = format!(
            "cp -r {path} \"$FOLDER/it\"; mount -o remount,ro \"$FOLDER\"
             $ASKAROUND get {key} --tracker {} --listen 127.0.0.1:0 -o \"$FOLDER/it\"",
            net.tracker
        );
        let output = in_small_folder(&there, "1M", &script);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("is here already"), "{}", stdout(&output));
    }
}

#[test]
fn a_peer_whose_state_finds_no_room_says_so_and_stores_it_once_there_is_some() {
    let user = tempfile::tempdir().unwrap();
    let (small, many) = (user.path().join("small"), user.path().join("many"));
    std::fs::create_dir(&small).unwrap();
    for folder in ["1", "2", "3"] {
        (0..600).for_each(|n| _ = write(&many, &format!("{folder}/{n}"), format!("{folder} {n}").as_bytes()));
    }
    let (_tracker, tracker) = start(&["tracker", "--listen", "127.0.0.1:0"]);
    let script = format!(
        "peer() {{
             $ASKAROUND peer --id 1 --listen 127.0.0.1:0 --tracker {tracker} --dir $FOLDER/p >&2 & PEER=$!
             while kill -0 $PEER; do $ASKAROUND status --dir $FOLDER/p >/dev/null 2>&1 && break; sleep 0.01; done
         }}
         add() {{ $ASKAROUND add -q {}/$1 --dir $FOLDER/p | wc -l; }}
         hold() {{ $ASKAROUND hold $1 --dir $FOLDER/p; }}
         peer
         hold a
         cat /dev/zero > $FOLDER/fill
         add 1
         hold b
         rm $FOLDER/fill
         add 1
         hold c
         cat /dev/zero > $FOLDER/fill
         add 2
         hold d
         rm $FOLDER/fill
         kill -INT $PEER; wait $PEER; echo $?
         peer
         $ASKAROUND contents 1 --dir $FOLDER/p | grep -x .
         cat /dev/zero > $FOLDER/fill
         add 3
         hold e
         kill -INT $PEER; wait $PEER; echo $?",
        many.display()
    );
    let output = in_small_folder(&small, "8M", &script);
    let (said, complained) = (stdout(&output), stderr(&output));
    assert_eq!(said, "holds a\n0\n1\nholds c\n0\n130\na\nb\nc\nd\n0\n1\n", "{complained}");
    assert!(complained.contains("the disk is full: make room and try again"), "{complained}");
    assert!(complained.contains("what changed since it could be stored is lost"), "{complained}");
}

#[test]
fn a_full_disk_is_said_and_with_room_it_goes_on() {
    let user = tempfile::tempdir().unwrap();
    let source = write(user.path(), "source", &bytes(2_000_000));
    let small = user.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let to = small.join("got");
    // Room is set aside first: then nothing has come. Of what has holes it is not, and the disk is
    // full in the middle.
    for (length, left) in [(2_000_000, 0), (4_000_000, 2)] {
        std::fs::File::options().write(true).open(&source).unwrap().set_len(length).unwrap();
        let serving = Serving::new(&source, &[]);
        let words = serving.get(to.to_str().unwrap(), &[]).join(" ");
        let script = format!(
            "$ASKAROUND {words} >&2; echo $?; test -e $FOLDER/got; echo $?; ls -A $FOLDER | wc -l
             mount -o remount,size=16M \"$FOLDER\"
             $ASKAROUND {words} --json; cmp {source} $FOLDER/got; echo $?; ls -A $FOLDER"
        );
        let output = in_small_folder(&small, "1M", &script);
        let (said, complained) = (stdout(&output), stderr(&output));
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[..3], ["1", "1", &left.to_string()], "{said}{complained}");
        let report = complained.lines().filter(|line| line.starts_with("askaround: "));
        let [report] = report.collect::<Vec<_>>()[..] else { panic!("{complained}") };
        let expected = ["small/.got.askaround-part", "the disk is full", "make room and try again"];
        assert!(expected.iter().all(|part| report.contains(part)), "{report}");
        let (said_at, sources_at) = (complained.find(report), complained.find("  SOURCE"));
        assert!(said_at < sources_at, "the report comes first: {complained}");
        let got = &json_lines(lines[lines.len() - 3])[0]["got"];
        assert_eq!(got["here_before"].as_u64() > Some(0), left > 0, "{said}");
        assert_eq!(lines[lines.len() - 2..], ["0", "got"], "{said}{complained}");
    }
}
