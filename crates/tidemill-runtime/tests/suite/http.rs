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
async fn get(server: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
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
        .unwrap();
    let running = app.launch(config).transport(cluster).start().await.unwrap();
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

    let (status, _, body) = get(&server, "/stores/latst/rows/61").await;
    assert!(status == 404 && body.contains("latest"), "{status} {body}");
    for path in [
        "/stores/latest/rows/6",
        "/stores/latest/rows/zz",
        "/stores/latest/rows?prefix=61&from=61",
    ] {
        assert_eq!(get(&server, path).await.0, 400, "{path}");
    }
    assert_eq!(get(&server, "/stores/latest/rows/61?as_of=1").await.0, 400);

    let (_, _, owners) = get(&server, "/owners").await;
    assert_eq!(owners, format!(r#"[{{"server":"{server}","tasks":["0_0"]}}]"#));
    let owner = running.store(&LATEST).owner(&"aa".to_owned()).await.unwrap();
    assert_eq!(owner, Some(server));
    running.stop().await.unwrap();
    serving.abort();
}
