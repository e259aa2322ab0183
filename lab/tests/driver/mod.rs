//! A real browser, driven over WebDriver. Nothing is installed here: where the browser is
//! missing, the test fails and says what to install.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

/// How often a chromedriver that ends at once is started anew.
const STARTS: usize = 5;

/// A running chromedriver, which is ended with the test.
pub(crate) struct Driver {
    process: Child,
    port: u16,
    /// Open as long as it runs: it may write to it.
    _said: BufReader<ChildStdout>,
}

impl Driver {
    pub(crate) fn start() -> Self {
        Self::start_with(|| {
            let mut command = Command::new("chromedriver");
            command.arg("--port=0");
            command
        })
    }

    /// Chromedriver takes a free IPv4 port and then the same port of IPv6; it ends if another
    /// process has that one. So it is started a few times.
    pub(crate) fn start_with(mut command: impl FnMut() -> Command) -> Self {
        let mut failures = String::new();
        for start in 1..=STARTS {
            match Self::try_start(command()) {
                Ok(driver) => return driver,
                Err(printed) => writeln!(failures, "start {start}:\n{printed}").unwrap(),
            }
        }
        panic!("chromedriver ended {STARTS} times without saying on which port it listens\n{failures}");
    }

    /// # Errors
    /// What it printed, if it ended without saying on which port it listens.
    fn try_start(mut command: Command) -> Result<Self, String> {
        let mut errors = tempfile::tempfile().unwrap();
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone().unwrap())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "cannot start chromedriver ({error}): the reports are tested in a real browser; on Debian: \
                     apt-get install chromium chromium-driver"
                )
            });
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let mut printed = String::new();
        loop {
            let before = printed.len();
            if said.read_line(&mut printed).unwrap() == 0 {
                break;
            }
            if let Some(port) = port(&printed[before..]) {
                return Ok(Self { process, port, _said: said });
            }
        }
        // It said its last; if it still runs, it is of no use.
        let _ = process.kill();
        let status = process.wait().unwrap();
        errors.rewind().unwrap();
        errors.read_to_string(&mut printed).unwrap();
        Err(format!("{printed}({status})"))
    }

    /// Runs `test` in a browser of its own, which is closed also if the test fails.
    pub(crate) async fn with_browser<F, T>(&self, dark: bool, test: F)
    where
        F: FnOnce(Page) -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        let profile = tempfile::tempdir().unwrap();
        let client = self.browser(profile.path(), dark).await;
        let outcome = tokio::spawn(test(Page(client.clone()))).await;
        client.close().await.unwrap();
        if let Err(error) = outcome {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    async fn browser(&self, profile: &Path, dark: bool) -> Client {
        let mut args = vec![
            "--headless".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--window-size=1280,1000".into(),
            // No smooth scrolling, or a click lands where an element no longer is.
            "--force-prefers-reduced-motion".into(),
            format!("--user-data-dir={}", profile.display()),
        ];
        if dark {
            args.push("--blink-settings=preferredColorScheme=0".into());
        }
        let wanted = json!({ "goog:chromeOptions": { "args": args } });
        let Value::Object(wanted) = wanted else { unreachable!("an object was written") };
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(wanted);
        builder.connect(&format!("http://127.0.0.1:{}", self.port)).await.expect("a browser starts")
    }
}

/// The port in the line that says that it listens.
fn port(line: &str) -> Option<u16> {
    let (_, port) = line.trim_end().trim_end_matches('.').split_once("started successfully on port ")?;
    port.parse().ok()
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the tests do with a page.
#[derive(Clone)]
pub(crate) struct Page(pub(crate) Client);

impl Page {
    pub(crate) async fn open(&self, file: &Path) {
        self.0.goto(&format!("file://{}", file.display())).await.unwrap();
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        self.0.find(Locator::Css(css)).await.unwrap_or_else(|e| panic!("{css}: {e}")).text().await.unwrap()
    }

    pub(crate) async fn attribute(&self, css: &str, name: &str) -> String {
        let element = self.0.find(Locator::Css(css)).await.unwrap_or_else(|e| panic!("{css}: {e}"));
        element.attr(name).await.unwrap().unwrap_or_default()
    }

    pub(crate) async fn count(&self, css: &str) -> usize {
        self.0.find_all(Locator::Css(css)).await.unwrap().len()
    }

    pub(crate) async fn click(&self, css: &str) {
        self.0.find(Locator::Css(css)).await.unwrap_or_else(|e| panic!("{css}: {e}")).click().await.unwrap();
    }

    pub(crate) async fn keys(&self, css: &str, text: &str) {
        self.0.find(Locator::Css(css)).await.unwrap().send_keys(text).await.unwrap();
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.0.execute(script, Vec::new()).await.unwrap_or_else(|e| panic!("{script}: {e}"))
    }

    /// Waits until the script gives true.
    pub(crate) async fn until(&self, what: &str, script: &str) {
        // A bound, not a measure: it is reached only if the page never gets there.
        for _ in 0..400 {
            if self.run(script).await == Value::Bool(true) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("waited too long for {what}");
    }
}
