//! `thoughtwire bench`, against the real server and against one that does everything wrong.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_websockets::{Message, ServerBuilder};

use super::Live;

/// Runs it; gives its exit code and its report.
async fn bench(url: &str, flags: &str) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thoughtwire"));
    command
        .args(["bench", "--json", "--url", url])
        .args(flags.split_whitespace())
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let code = output.status.code().unwrap();
    assert!(
        code == 2 || report.is_object(),
        "{flags}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    (code, report)
}

fn counts(report: &Value) -> [u64; 5] {
    ["delivered", "lost", "gaps", "duplicates", "disordered"]
        .map(|key| report[key].as_u64().unwrap())
}

#[tokio::test]
async fn every_reader_of_every_wire_gets_everything_once() {
    let live = Live::start().await;
    for flags in [
        "--dialect native --sessions 2 --connections 7 --items 30 --rate 0",
        "--dialect memgpt --sessions 2 --connections 7 --items 30 --rate 0",
        "--dialect sparky --sessions 2 --connections 7 --items 30 --rate 0",
        "--dialect native --sessions 7 --subscribers 1 --items 30 --rate 200 --deltas",
        // Many tabs of one Sparky session, each of which opens the same chat.
        "--dialect sparky --sessions 1 --connections 700 --items 1 --rate 0",
        "--dialect native --connections 7 --items 10 --inputs 3 --rate 0 --addresses 3",
        "--dialect native --offered --sessions 7 --subscribers 1 --items 30 --rate 0",
        "--dialect native --offered --sessions 7 --subscribers 1 --items 30 --rate 200 --deltas",
        "--dialect memgpt --connections 7 --items 10 --inputs 3 --arrivals 50 --rate 0",
    ] {
        let (code, report) = bench(&live.url, flags).await;
        let delivered = if flags.contains("--connections 700") { 700 } else { 210 };
        assert_eq!((code, counts(&report)), (0, [delivered, 0, 0, 0, 0]), "{flags}: {report}");
        let turns = report["turns"]["ended"].as_u64().unwrap();
        let inputs = if flags.contains("--inputs") { 3 } else { 1 };
        assert_eq!(turns, inputs * report["sessions"].as_u64().unwrap(), "{flags}");
        assert!(report["latency_us"]["p99.9"].as_u64() >= report["latency_us"]["p50"].as_u64());
    }
}

#[tokio::test]
async fn a_woken_reader_gets_everything_in_order() {
    let live = Live::start().await;
    for dialect in ["native", "memgpt", "sparky"] {
        let flags = format!(
            "--dialect {dialect} --connections 5 --stalled 2 --wake --items 3000 --bytes 3000 \
            --rate 0"
        );
        let (code, report) = bench(&live.url, &flags).await;
        assert_eq!((code, counts(&report)), (0, [9000, 0, 0, 0, 0]), "{flags}: {report}");
        let stalled = &report["stalled"];
        assert_eq!(
            (stalled["has"].as_u64(), stalled["lost"].as_u64()),
            (Some(6000), Some(0)),
            "{flags}: {report}"
        );
    }
}

#[tokio::test]
async fn created_agents_are_deleted_and_a_borrowed_one_is_restored() {
    let live = Live::start().await;
    let (_, _) = live.agent("sparky", "load:items=3,bytes=10").await;
    for dialect in ["native", "memgpt", "sparky"] {
        let pid = std::process::id();
        let (code, report) = bench(
            &live.url,
            &format!("--dialect {dialect} --connections 2 --items 5 --rate 0 --pid {pid}"),
        )
        .await;
        assert_eq!(code, 0, "{report}");
        assert!(report["server"]["rss_peak"].as_u64().unwrap() > 0);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_thoughtwire"))
        .args(["agents", "list", "--json", "--url", &live.url])
        .output()
        .await;
    let listed = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(
        listed.contains("load:items=3,bytes=10")
            && !listed.contains("marks")
            && !listed.contains("bench-"),
        "{listed}"
    );
}

#[tokio::test]
async fn a_server_that_loses_doubles_and_swaps_is_found_out() {
    for (numbers, found) in [
        (&[1, 2, 3, 4, 5, 6][..], [6, 0, 0, 0, 0]),
        (&[1, 2, 4, 5, 6], [5, 1, 1, 0, 0]),
        (&[1, 2, 2, 3, 4, 5, 6], [6, 0, 0, 1, 0]),
        (&[1, 3, 2, 4, 5, 6], [5, 0, 1, 0, 1]),
        (&[1, 2, 3], [3, 3, 0, 0, 0]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/anywhere?x=1", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (_, mut socket) =
                ServerBuilder::new().accept(listener.accept().await.unwrap().0).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap().as_text(), Some("hello"));
            assert_eq!(socket.next().await.unwrap().unwrap().as_text(), Some("begin"));
            for n in numbers {
                socket
                    .send(Message::text(format!("42[\"m\",\"~{n}~{}~ x\"]", 1_000_000 + n)))
                    .await
                    .unwrap();
            }
            while socket.next().await.is_some() {}
        });
        let flags =
            "--dialect plain --connections 1 --items 6 --hello hello --go begin --patience 2";
        let (code, report) = bench(&url, flags).await;
        assert_eq!(counts(&report), found, "{numbers:?}: {report}");
        assert_eq!(code, i32::from(found != [6, 0, 0, 0, 0]));
        server.abort();
    }
}

#[tokio::test]
async fn contradictory_flags_are_refused() {
    for flags in [
        "--connections 2 --sessions 3",
        "--connections 2 --stalled 2",
        "--connections 2 --subscribers 2",
        "--dialect memgpt --deltas",
        "--dialect memgpt --owner http://127.0.0.1:1",
        "--wake",
    ] {
        assert_eq!(bench("http://127.0.0.1:1", flags).await.0, 2, "{flags}");
    }
}
