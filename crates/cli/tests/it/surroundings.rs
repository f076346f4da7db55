//! The binary's environment: directories, configuration files and remote servers.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::usage::{Ran, thoughtwire};

/// Runs the binary in a directory with these variables and no others.
fn run_in(dir: &Path, variables: &[(&str, &Path)], args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_thoughtwire"))
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn setting(ran: &Ran, name: &str) -> String {
    let shown: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    let settings = shown.as_array().or_else(|| shown["settings"].as_array()).unwrap();
    let found = settings.iter().find(|setting| setting["name"] == name).unwrap();
    found["value"].as_str().unwrap().to_owned()
}

#[test]
fn xdg_directories_need_no_home() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config/thoughtwire");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), "model = \"load:items=1\"\n").unwrap();
    let variables = [
        ("XDG_DATA_HOME", &*dir.path().join("data")),
        ("XDG_CONFIG_HOME", &*dir.path().join("config")),
    ];
    let ran = run_in(dir.path(), &variables, &["config", "show", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let data = dir.path().join("data/thoughtwire");
    assert_eq!(setting(&ran, "data_dir"), data.display().to_string());
    assert_eq!(setting(&ran, "model"), "load:items=1");
}

#[test]
fn any_readable_file_is_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings");
    std::fs::write(&file, "model = \"load:items=2\"\n").unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let writer = {
        let fifo = fifo.clone();
        std::thread::spawn(move || std::fs::write(fifo, "model = \"load:items=3\"\n").unwrap())
    };
    for (file, model) in [
        (Path::new("/dev/null"), "offline"),
        (&file, "load:items=2"),
        (Path::new("settings"), "load:items=2"),
        (&fifo, "load:items=3"),
    ] {
        let file = file.to_str().unwrap();
        let args = ["config", "show", "--json", "--config", file, "--data-dir", "data"];
        let ran = run_in(dir.path(), &[], &args);
        assert_eq!(ran.code, 0, "{file}: {ran:?}");
        assert_eq!(setting(&ran, "model"), model, "{file}");
    }
    writer.join().unwrap();
}

#[test]
fn errors_name_the_path() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("broken.toml"), "model = \n").unwrap();
    std::fs::write(dir.path().join("a-file"), "x").unwrap();
    for (args, path) in [
        (&["config", "check", "--data-dir", "d", "--config", "absent.toml"][..], "absent.toml"),
        (&["config", "check", "--data-dir", "d", "--config", "broken.toml"], "broken.toml"),
        (&["config", "check", "--data-dir", "d", "--config", "."], "."),
        (&["serve", "--listen", "127.0.0.1:0", "--data-dir", "a-file/data"], "a-file/data"),
        (&["restore", "absent.backup", "--data-dir", "d"], "absent.backup"),
        (&["restore", "a-file", "--data-dir", "d"], "a-file"),
        (&["backup", "nowhere/copy.backup", "--data-dir", "d"], "nowhere"),
        (&["agents", "list", "--data-dir", "absent"], "absent"),
    ] {
        let ran = run_in(dir.path(), &[], args);
        assert!(ran.code == 1 && ran.err.contains(path), "{args:?}: {ran:?}");
    }
}

#[test]
fn doctor_takes_a_relative_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("made")).unwrap();
    for name in ["made", "./made", "new", "made/new"] {
        let args = ["doctor", "--json", "--data-dir", name, "--listen", "127.0.0.1:0"];
        let ran = run_in(dir.path(), &[], &args);
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        let found = finding(&ran, "data directory")["found"].to_string();
        let absolute = dir.path().join(name.trim_start_matches("./"));
        let expected = format!("{} has no data yet", absolute.display());
        assert!(found.contains(&expected), "{name}: {found}");
    }
}

/// A process that ends with the test.
struct RunningServer(Child);

impl Drop for RunningServer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A running server with these flags: its address, and the process.
fn serve(dir: &Path, flags: &[&str]) -> (String, RunningServer) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_thoughtwire"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(dir.join("data"))
        .args(flags)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (line.split_whitespace().last().unwrap().to_owned(), RunningServer(child))
}

fn finding(ran: &Ran, subject: &str) -> Value {
    let told: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    let findings = told["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["subject"] == subject).cloned().unwrap_or_default()
}

#[test]
fn doctor_checks_a_running_server() {
    let dir = tempfile::tempdir().unwrap();
    let (url, server) = serve(dir.path(), &[]);
    for args in [["doctor", "--json", "--url", &url], ["--url", &url, "doctor", "--json"]] {
        let ran = thoughtwire(&args, b"");
        assert_eq!(ran.code, 0, "{ran:?}");
        for subject in ["reachable", "ready", "access", "websocket", "version", "clock", "proxy"] {
            assert_eq!(finding(&ran, subject)["health"], "good", "{subject}: {ran:?}");
        }
    }
    drop(server);
    let ran = thoughtwire(&["doctor", "--json", "--url", &url], b"");
    assert_eq!((ran.code, &finding(&ran, "reachable")["health"]), (1, &"bad".into()), "{ran:?}");
    let keys = tempfile::tempdir().unwrap();
    let (url, _server) = serve(keys.path(), &["--auth", "keys"]);
    let ran = thoughtwire(&["doctor", "--json", "--url", &url], b"");
    let access = finding(&ran, "access");
    assert_eq!((ran.code, &access["health"]), (1, &"bad".into()), "{ran:?}");
    assert!(access["mend"].as_str().unwrap().contains("THOUGHTWIRE_KEY"), "{access}");
}

#[test]
fn an_untrusted_certificate_is_called_that() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let flags =
        ["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let (url, _server) = serve(dir.path(), &flags);
    let url = url.replace("127.0.0.1", "localhost");
    // Authorities of a machine that knows others.
    let others = dir.path().join("others.pem");
    let made = rcgen::generate_simple_self_signed(vec!["example.org".to_owned()]).unwrap();
    std::fs::write(&others, made.cert.pem()).unwrap();
    let run = |args: &[&str]| run_in(dir.path(), &[("SSL_CERT_FILE", &others)], args);
    for args in [
        &["--url", &url, "agents", "list"][..],
        &["--url", &url, "send", "hi"],
        &["--url", &url, "send", "hi", "--session", "s-1"],
        &["--url", &url, "doctor"],
    ] {
        let ran = run(args);
        let told = ran.out + &ran.err;
        assert_eq!(ran.code, 1, "{args:?}: {told}");
        assert!(told.contains("is not trusted") && told.contains("authority"), "{args:?}: {told}");
        assert!(!told.contains("can be reached"), "{args:?}: {told}");
    }
    let trusting = [("SSL_CERT_FILE", certificate.as_path())];
    let ran = run_in(dir.path(), &trusting, &["--url", &url, "agents", "list"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let other = url.replace("localhost", "127.0.0.1");
    let ran = run_in(dir.path(), &trusting, &["--url", &other, "agents", "list"]);
    assert!(ran.code == 1 && ran.err.contains("another name"), "{ran:?}");
    // A server without TLS gets a different message.
    let plain = tempfile::tempdir().unwrap();
    let (http, _second) = serve(plain.path(), &[]);
    let ran = run(&["--url", &http.replace("http:", "https:"), "agents", "list"]);
    assert!(ran.code == 1 && ran.err.contains("http://"), "{ran:?}");
}
