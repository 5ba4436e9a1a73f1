use bytes::Buf;
use futures::FutureExt;
use futures::future::BoxFuture;
use tidemill_protocol::messages::api_versions::ApiVersion;
use tidemill_protocol::messages::produce::ProduceRequest;

use super::*;

/// A broker that answers the first request and reads a further one for each permit.
struct Slow {
    reads: Arc<Semaphore>,
}

struct Answers(mpsc::UnboundedReceiver<Bytes>);
struct Requests {
    reads: Arc<Semaphore>,
    answers: mpsc::UnboundedSender<Bytes>,
    is_first: bool,
}

impl Dial for Slow {
    fn dial<'a>(&'a self, _: &'a Address) -> BoxFuture<'a, std::io::Result<Wire>> {
        let (answers, source) = mpsc::unbounded_channel();
        let sink = Requests {
            reads: Arc::clone(&self.reads),
            answers,
            is_first: true,
        };
        let wire = Wire {
            source: Box::new(Answers(source)),
            sink: Box::new(sink),
        };
        Box::pin(async { Ok(wire) })
    }
}

impl FrameSource for Answers {
    fn next(&mut self) -> BoxFuture<'_, std::io::Result<Option<Bytes>>> {
        Box::pin(async { Ok(self.0.recv().await) })
    }
}

impl FrameSink for Requests {
    fn send(&mut self, mut frame: Frame) -> BoxFuture<'_, std::io::Result<()>> {
        Box::pin(async move {
            if !std::mem::take(&mut self.is_first) {
                self.reads.acquire().await.unwrap().forget();
                return Ok(());
            }
            // Length, API key and version stand before the number.
            frame.advance(8);
            let response = ApiVersionsResponse {
                api_keys: vec![ApiVersion {
                    api_key: ApiKey::Produce.into(),
                    min_version: 3,
                    max_version: 9,
                }],
                ..Default::default()
            };
            let version = *ApiKey::ApiVersions.versions().end();
            let mut answer = tidemill_protocol::response_frame(&response, version, frame.get_i32()).unwrap();
            answer.advance(4);
            let whole = answer.copy_to_bytes(answer.remaining());
            self.answers.send(whole).unwrap();
            Ok(())
        })
    }
}

#[tokio::test]
async fn who_tells_faster_than_the_broker_reads_waits() {
    let reads = Arc::new(Semaphore::new(1));
    let dial = Slow {
        reads: Arc::clone(&reads),
    };
    let settings = ConnectionSettings {
        client_id: "test".into(),
        request_timeout: Duration::from_secs(60),
        in_flight_max: 5,
        reconnect_backoff: Duration::ZERO,
        reconnect_backoff_max: Duration::ZERO,
    };
    let address = Address {
        host: "slow".into(),
        port: 1,
    };
    let connection = Connection::open(&dial, &address, &settings).await.unwrap();
    let request = ProduceRequest::default();
    connection.tell(&request, i16::MAX).await.unwrap();

    let mut second = Box::pin(connection.tell(&request, i16::MAX));
    assert!(futures::poll!(&mut second).is_pending());
    // The task that sends has all the time it wants, and gets no further.
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert!(second.as_mut().now_or_never().is_none(), "it was not read yet");
    }
    reads.add_permits(1);
    second.await.unwrap();
}
