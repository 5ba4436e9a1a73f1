//! Tables are read over HTTP.

use tidemill_client::{MemoryCluster, Record, TopicPartition};
use tidemill_data::{Headers, StoreName, Timestamp, Topic};
use tidemill_runtime::{Config, Start};
use tidemill_streams::App;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PRICES: Topic<String, String> = Topic::new("prices");
const LATEST: StoreName<String, String> = StoreName::new("latest");

/// The status line's number, the head and the body of an answer.
pub(crate) async fn get(server: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

/// Requests of the table that are wrong, and what their answers say.
const WRONG: &[(&str, &str)] = &[
    ("rows/6", "\"6\" must be pairs of hexadecimal digits"),
    ("rows/zz", "must be pairs of hexadecimal digits"),
    ("rows?prefix=61&from=61", "either `prefix`"),
    ("rows?from=61&after=61", "either `from` or `after`"),
    ("rows?from=6", "`from` is \"6\""),
    ("rows?form=61", "no parameter `form`"),
    ("rows?limit=-1", "`limit` is \"-1\", and must be a number of rows"),
    ("rows?limit=1&limit=2", "`limit` is given twice"),
    ("rows?reverse=yes", "true or false"),
    ("rows/61?as_of=1", "of another kind"),
    ("rows/61?as_of=now", "milliseconds since 1970"),
    ("rows/61?at_least=prices", "TOPIC-PARTITION@OFFSET"),
    ("rows/61?at_least=cities-0@1", "its tasks read prices"),
    ("rows/61?wait=1s", "`wait` is \"1s\""),
    ("rows/61?task=0", "as in 0_1"),
    ("windows", "of another kind"),
    ("windows/61/0/x", "\"x\" must be a time"),
    ("windows?after=1,2", "START,END,KEY"),
    ("owner/6", "hexadecimal digits"),
];

/// Pages say that there is more; positions are told, and what is not that far is refused.
async fn told_and_demanded(server: &str) {
    let (status, head, _) = get(server, "/stores/latest/rows/-").await;
    assert!(status == 404 && head.contains("position: prices-0@2"), "{head}");
    let (_, head, body) = get(server, "/stores/latest/rows?limit=2").await;
    assert!(
        head.contains("more: true") && body.matches("key").count() == 2,
        "{head}"
    );
    let (_, head, body) = get(server, "/stores/latest/rows?limit=2&after=6162").await;
    assert!(
        !head.contains("more: true") && body.matches("key").count() == 1,
        "{head}"
    );

    let (status, head, body) = get(server, "/stores/latest/rows/61?at_least=prices-0@9").await;
    assert_eq!(
        (status, head.contains("position: prices-0@2")),
        (503, true),
        "{head}"
    );
    assert!(body.contains("was to reflect prices-0@9"), "{body}");
    assert_eq!(
        get(server, "/stores/latest/rows/6161?committed=true").await.0,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_owners_are_read_over_http_and_bad_requests_refused() {
    let (cluster, state) = (MemoryCluster::new(), tempfile::tempdir().unwrap());
    cluster.topic("prices", 1);
    for (key, value) in [("aa", "1"), ("ab", "2"), ("b", "3")] {
        let record = Record {
            offset: 0,
            timestamp: Timestamp::from_millis(7),
            key: Some(key.into()),
            value: Some(value.into()),
            headers: Headers::default(),
        };
        cluster.append(&TopicPartition::new("prices", 0), record).unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let app = App::new("app");
    let _ = app.stream(&PRICES).to_table(&LATEST);
    let config = Config::new()
        .state_dir(state.path())
        .set("application.server", &server)
        .unwrap()
        .set("commit.interval.ms", 3_600_000)
        .unwrap();
    let launch = app.launch(config.clone()).transport(cluster.clone());
    let running = launch.start().await.unwrap();
    let service = running.query_service();
    let serving = tokio::spawn(async move { axum::serve(listener, service).await });
    while running.store(&LATEST).all().await.unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }

    let (status, head, body) = get(&server, "/stores/latest/rows/6162").await;
    assert_eq!((status, body.as_str()), (200, "2"));
    assert!(head.contains("timestamp: 7"), "{head}");
    assert_eq!(get(&server, "/stores/latest/rows/7a").await.0, 404);
    let (status, _, body) = get(&server, "/stores/latest/rows?prefix=61&limit=1&reverse=true").await;
    assert_eq!(
        (status, body.as_str()),
        (200, r#"[{"key":"6162","value":"32","timestamp":7}]"#)
    );
    let (status, _, body) = get(&server, "/stores/latest/rows?from=6162").await;
    assert_eq!((status, body.matches("key").count()), (200, 2));

    assert!(head.contains("position: prices-0@2"), "{head}");
    told_and_demanded(&server).await;

    let (status, head, body) = get(&server, "/stores/latst/rows/61").await;
    assert!(!head.contains("position"), "{head}");
    assert!(status == 404 && body.contains("latest"), "{status} {body}");
    for (path, reason) in WRONG {
        let (status, _, body) = get(&server, &format!("/stores/latest/{path}")).await;
        assert!(status == 400 && body.contains(reason), "{path}: {status} {body}");
    }
    assert_eq!(get(&server, "/stores/latest/rows/61?task=7_0").await.0, 421);

    let (_, _, owners) = get(&server, "/owners").await;
    assert_eq!(owners, format!(r#"[{{"server":"{server}","tasks":["0_0"]}}]"#));
    let owner = running.store(&LATEST).owner(&"aa".to_owned()).await.unwrap();
    assert_eq!(owner.as_ref(), Some(&server));
    running.stop().await.unwrap();

    // The service is still there, and says so; the state directory is free for whoever comes next.
    let again = app.launch(config).transport(cluster).start().await.unwrap();
    for path in ["stores/latest/rows/6162", "owners"] {
        let (status, _, body) = get(&server, &format!("/{path}")).await;
        assert!(status == 503 && body.contains("NOT_RUNNING"), "{status} {body}");
    }
    again.stop().await.unwrap();
    serving.abort();
}
