//! `cargo xtask test`: everything that must hold before a commit.

use std::process::{Command, Stdio};

/// What `core` must never depend on, and why its own lints cannot say so.
const NOT_IN_CORE: [&str; 7] =
    ["tokio", "mio", "socket2", "rand", "getrandom", "stateright", "askaround-node"];

/// Runs all checks and counts the tests.
///
/// # Errors
/// Which check failed.
pub(crate) fn run() -> Result<(), String> {
    what_the_tests_start()?;
    step("format", &["fmt", "--all", "--check"], &[])?;
    step("clippy", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"], &[])?;
    let docs = ["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"];
    step("docs", &docs, &[("RUSTDOCFLAGS", "-D warnings")])?;
    core_stands_alone()?;
    if has_wasm32() {
        let wasm = ["check", "--package", "askaround-core", "--target", "wasm32-unknown-unknown", "--locked"];
        step("core for wasm32", &wasm, &[])?;
    } else {
        eprintln!(
            "xtask: core for wasm32: left out, the target is not installed (rustup target add wasm32-unknown-unknown)"
        );
    }
    tests()
}

/// Programs that the tests start. What is missing is said before the long part.
fn what_the_tests_start() -> Result<(), String> {
    let needed = [
        ("python3", "a peer in Python takes part in runs", "python3"),
        ("chromium", "the reports are tested in a real browser", "chromium"),
        ("chromedriver", "it drives that browser", "chromium-driver"),
    ];
    let missing = needed.iter().filter(|(program, ..)| {
        let started =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        !started.is_ok_and(|status| status.success())
    });
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    let lines = missing.iter().map(|(program, why, _)| format!("  {program}: {why}"));
    let packages: Vec<_> = missing.iter().map(|(.., package)| *package).collect();
    Err(format!(
        "the tests need programs that are not here:\n{}\non Debian: apt-get install {}",
        lines.collect::<Vec<_>>().join("\n"),
        packages.join(" ")
    ))
}

fn step(name: &str, words: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
    eprintln!("xtask: {name}");
    let status = cargo().args(words).envs(environment.iter().copied()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{name} failed: cargo {}", words.join(" "))),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}

/// The arrows between the crates only point down.
fn core_stands_alone() -> Result<(), String> {
    eprintln!("xtask: structure");
    let tree = |package: &str| {
        let words = ["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--locked"];
        let output = cargo().args(words).output().map_err(|e| format!("cannot run cargo: {e}"))?;
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let depends = |tree: &str, name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    let core = tree("askaround-core")?;
    if !depends(&core, "serde_json") {
        return Err("cargo tree does not show what core depends on".into());
    }
    if let Some(name) = NOT_IN_CORE.iter().find(|name| depends(&core, name)) {
        return Err(format!("core must not depend on {name}"));
    }
    if depends(&tree("askaround-node")?, "askaround-lab") {
        return Err("node must not depend on lab".into());
    }
    Ok(())
}

fn has_wasm32() -> bool {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", "wasm32-unknown-unknown"])
        .output();
    output.is_ok_and(|o| std::path::Path::new(String::from_utf8_lossy(&o.stdout).trim()).is_dir())
}

/// Runs the tests, shows what they print, and adds up what they count.
fn tests() -> Result<(), String> {
    eprintln!("xtask: tests");
    // The command-line tests run all three programs.
    step("programs", &["build", "--locked", "--bins"], &[])?;
    let mut child = cargo()
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    let (mut passed, mut failed) = (0, 0);
    if let Some(stdout) = child.stdout.take() {
        for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)).map_while(Result::ok) {
            println!("{line}");
            if line.starts_with("test result: ") {
                passed += count(&line, "passed");
                failed += count(&line, "failed");
            }
        }
    }
    let status = child.wait().map_err(|e| format!("cannot wait for cargo: {e}"))?;
    println!("{passed} passed, {failed} failed");
    if status.success() && failed == 0 && passed > 0 { Ok(()) } else { Err("tests failed".into()) }
}

/// The number before `word` in a line of the test runner.
fn count(line: &str, word: &str) -> u32 {
    let words: Vec<&str> = line.split([' ', ';']).filter(|w| !w.is_empty()).collect();
    let at = words.iter().position(|w| *w == word).unwrap_or(0);
    at.checked_sub(1).and_then(|at| words[at].parse().ok()).unwrap_or(0)
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
