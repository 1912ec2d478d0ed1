//! A headless Chromium, driven by its `DevTools` protocol over two pipes: JSON messages that end with a zero byte.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Everything that a trial asks of it must be done by then: it runs on machines that emulate guests meanwhile.
const DEADLINE: Duration = Duration::from_secs(120);

/// A browser with one page, which is ended with everything it started when this is dropped.
pub(crate) struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    session: Option<String>,
    asked: u64,
    deadline: Instant,
    /// What it told without being asked, in order.
    told: Vec<Value>,
    _profile: tempfile::TempDir,
}

/// What it is called: by Debian, by Ubuntu, by those who build it.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The browser that there is.
pub(crate) fn program() -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here =
        |name: &&str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    NAMES.into_iter().find(is_here)
}

impl Browser {
    /// Starts it, with an empty page and no way to any network.
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder");
        // It listens on descriptor 3 and answers on 4; the shell makes these of the standard ones and becomes the browser.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"])
            .arg(program().expect("a browser"))
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                // A container may not make the namespaces of its sandbox, and the page is ours.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-extensions",
                "--disable-sync",
                "--no-first-run",
                "--no-default-browser-check",
                "--hide-scrollbars",
                "--host-resolver-rules=MAP * ~NOTFOUND",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A group of its own, by which all of its processes are found.
            .process_group(0)
            .spawn()
            .expect("a shell");
        let to = child.stdin.take();
        let mut out = child.stdout.take().expect("a piped output");
        let (sender, from) = channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut piece = vec![0; 1 << 16];
            while let Ok(count @ 1..) = out.read(&mut piece) {
                bytes.extend_from_slice(&piece[..count]);
                while let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                    let message: Vec<u8> = bytes.drain(..=end).take(end).collect();
                    let message = serde_json::from_slice(&message).unwrap_or(Value::Null);
                    if sender.send(message).is_err() {
                        return;
                    }
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            from,
            session: None,
            asked: 0,
            deadline: Instant::now() + DEADLINE,
            told: Vec::new(),
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", &json!({"url": "about:blank"}));
        let asked = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.ask("Target.attachToTarget", &asked);
        browser.session = Some(session["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Asks for something and waits for the answer.
    pub(crate) fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut text = message.to_string().into_bytes();
        text.push(0);
        let to = self.to.as_mut().expect("it is not ended yet");
        to.write_all(&text).expect("chromium listens");
        loop {
            let message = self.next(method);
            if message["id"] == json!(self.asked) {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.told.push(message);
        }
    }

    /// Opens a file and waits until all of it is there.
    pub(crate) fn open(&mut self, file: &Path) {
        self.told.clear();
        let url = format!("file://{}", file.display());
        let answer = self.ask("Page.navigate", &json!({"url": url}));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        let is_loaded = |message: &Value| message["method"] == "Page.loadEventFired";
        while !self.told.iter().any(is_loaded) {
            let message = self.next("Page.loadEventFired");
            self.told.push(message);
        }
    }

    /// The width and theme of a screen.
    pub(crate) fn become_screen(&mut self, width: u32, theme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.ask("Emulation.setEmulatedMedia", &json!({"features": features}));
        let mobile = width < 500;
        let screen =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile});
        self.ask("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// What an expression of JavaScript is in the page. The page's own rules do not bind the debugger.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true});
        let answer = self.ask("Runtime.evaluate", &asked);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// A picture of the whole page, PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let asked = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.ask("Page.captureScreenshot", &asked);
        from_base64(answer["data"].as_str().expect("a picture"))
    }

    /// What went wrong on the page: messages on its console and in its log, exceptions, dialogs.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // What was told until now is here when this has been answered.
        self.ask("Runtime.evaluate", &json!({"expression": "0"}));
        let methods = [
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        ];
        self.of(&methods).map(Value::to_string).collect()
    }

    /// Addresses that the page asked for, its own file first.
    pub(crate) fn requests(&self) -> Vec<String> {
        let url = |message: &Value| {
            message["params"]["request"]["url"]
                .as_str()
                .map(str::to_owned)
        };
        self.of(&["Network.requestWillBeSent"])
            .filter_map(url)
            .collect()
    }

    fn of<'a>(&'a self, methods: &'a [&str]) -> impl Iterator<Item = &'a Value> {
        let is_one = |message: &&Value| {
            let method = message["method"].as_str();
            method.is_some_and(|method| methods.contains(&method))
        };
        self.told.iter().filter(is_one)
    }

    fn next(&mut self, awaited: &str) -> Value {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.from.recv_timeout(left) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => panic!(
                "chromium did not answer {awaited} within {DEADLINE:?}; it told last: {:?}",
                self.told.last()
            ),
            Err(RecvTimeoutError::Disconnected) => {
                panic!(
                    "chromium ended while {awaited} was awaited: {:?}",
                    self.child.try_wait()
                )
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to close, it ends its processes itself, and its pipe with them; whatever has not gone then is killed.
        if let Some(mut to) = self.to.take() {
            let asked = to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
            let until = Instant::now() + Duration::from_secs(10);
            let left = || until.saturating_duration_since(Instant::now());
            while asked.is_ok() && self.from.recv_timeout(left()).is_ok() {}
        }
        let group = self.child.id();
        let kill = Command::new("kill")
            .args(["-KILL", "--", &format!("-{group}")])
            .stderr(Stdio::null())
            .status();
        let reaped = self.child.wait();
        let until = Instant::now() + Duration::from_secs(10);
        let mut left = processes_of(group);
        while !left.is_empty() && Instant::now() < until {
            // The kernel ends what was killed in its own time: looked at again until then.
            std::thread::yield_now();
            left = processes_of(group);
        }
        if !std::thread::panicking() {
            assert!(kill.is_ok() && reaped.is_ok(), "{kill:?} {reaped:?}");
            assert!(left.is_empty(), "chromium left processes behind: {left:?}");
        }
    }
}

/// Processes of a group that still run.
fn processes_of(group: u32) -> Vec<String> {
    let group = group.to_string();
    let mut found = Vec::new();
    for entry in fs_err::read_dir("/proc").expect("procfs") {
        let path = entry.expect("an entry of procfs").path();
        // A process may end while it is looked at.
        let Ok(stat) = fs_err::read_to_string(path.join("stat")) else {
            continue;
        };
        // PID (name) state parent group ...
        let after = stat.rsplit(") ").next().unwrap_or_default();
        let mut words = after.split(' ');
        let state = words.next();
        if state != Some("Z") && words.nth(1) == Some(&group) {
            found.push(stat);
        }
    }
    found
}

/// RFC 4648.
fn from_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for value in text.bytes().filter_map(value) {
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff).to_le_bytes()[0]);
        }
    }
    bytes
}
