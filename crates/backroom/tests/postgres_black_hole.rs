//! A network that drops what is sent and says nothing: calls end within their deadlines, and work goes on as soon as new
//! connections get through.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod postgres_support;

use std::{sync::Arc, time::Duration};

use backroom::{
    Backroom, ErrorKind, Options, Worker,
    clock::{Clock, SystemClock},
    core::bounds::span_until,
};
use common::{Double, double};
use postgres_support::Place;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A way to the server that can be cut without notice to either side. Connections that were open or were made while it was cut
/// stay dead, as behind a firewall that has forgotten them.
struct Way {
    address: String,
    is_cut: watch::Sender<bool>,
}

impl Way {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (is_cut, cut) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                tokio::spawn(forward(here, server.clone(), cut.clone()));
            }
        });
        Self { address, is_cut }
    }

    fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    fn open(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn forward(here: TcpStream, server: String, mut cut: watch::Receiver<bool>) {
    if *cut.borrow() {
        // Taken and never answered.
        let _here = here;
        return std::future::pending().await;
    }
    let there = TcpStream::connect(server).await.unwrap();
    let (mut from_here, mut to_here) = here.into_split();
    let (mut from_there, mut to_there) = there.into_split();
    let both = async {
        let out = async {
            let mut bytes = vec![0; 65536];
            while let Ok(count @ 1..) = from_here.read(&mut bytes).await {
                to_there.write_all(&bytes[..count]).await.unwrap();
            }
        };
        let back = async {
            let mut bytes = vec![0; 65536];
            while let Ok(count @ 1..) = from_there.read(&mut bytes).await {
                if to_here.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! { () = out => {}, () = back => {} }
    };
    tokio::select! {
        () = both => return,
        _ = cut.wait_for(|is_cut| *is_cut) => {}
    }
    // Neither end is closed, and nothing is read any more.
    std::future::pending().await
}

/// The answer, and how long it took.
async fn timed<T>(doing: impl Future<Output = T>) -> (T, Duration) {
    let clock = SystemClock::default();
    let began_at = clock.now();
    let done = doing.await;
    (done, span_until(began_at, clock.now()))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_within_their_deadlines_and_work_goes_on_when_the_network_is_back() {
    let place = Place::new();
    let (before, after) = place.server.rsplit_once('@').unwrap();
    let (address, rest) = after.split_once('/').unwrap();
    let way = Arc::new(Way::to(address.to_owned()).await);
    let url = format!("{before}@{}/{rest}", way.address);
    let url = postgres_support::with(&url, &format!("schema={}", place.schema));
    let backroom = Options::new().enqueue_timeout(Duration::from_secs(3)).open(&url).await.unwrap();
    let worker = Worker::new(&backroom).queue("default", 2).handle(double).start().await.unwrap();
    let enqueued = async |backroom: &Backroom| backroom.enqueue(Double(21)).await;
    let job = enqueued(&backroom).await.unwrap();
    assert_eq!(job.wait().await.unwrap(), 42);

    way.cut();
    for _ in 0..4 {
        let (answered, took) = timed(enqueued(&backroom)).await;
        let refused = answered.expect_err("nothing answers");
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        assert!(took < Duration::from_secs(4), "an enqueue took {took:?}");
    }
    way.open();

    let (job, took) = timed(async {
        loop {
            if let Ok(job) = enqueued(&backroom).await {
                return job;
            }
        }
    })
    .await;
    assert!(took < Duration::from_secs(15), "the first enqueue after it took {took:?}");
    let (answer, took) = timed(job.wait()).await;
    assert_eq!(answer.unwrap(), 42);
    assert!(took < Duration::from_secs(15), "the first job after it took {took:?}");
    worker.stop().await.unwrap();
}
