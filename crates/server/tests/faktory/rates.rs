//! How many jobs per second clients fetch and finish:
//! `cargo test --release --workspace --all-features --test faktory -- --ignored --nocapture rates`.

use std::time::Instant;

use serde_json::json;

use crate::{cli_support::Place, support::Served};

#[test]
#[ignore = "it measures"]
#[expect(clippy::disallowed_methods, reason = "it measures and says what, on the machine's clock")]
fn rates_of_fetch_and_ack_with_20_connections() {
    const JOBS: usize = 40_000;
    const CONNECTIONS: usize = 20;
    let place = Place::new();
    let served = Served::start(&place, &[]);
    let mut producer = served.connect("HELLO {\"v\":2}");
    for chunk in 0..JOBS / 1000 {
        let jobs: Vec<_> = (0..1000)
            .map(|number| json!({ "jid": format!("job-{chunk}-{number:05}"), "jobtype": "noop", "args": [number] }))
            .collect();
        assert_eq!(producer.says(&format!("PUSHB {}", json!(jobs))), "{}");
    }
    for workers in [1, CONNECTIONS] {
        let began = Instant::now();
        let done: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CONNECTIONS)
                .map(|number| {
                    let served = &served;
                    scope.spawn(move || {
                        let wid = format!("rate-{workers}-{}", number % workers);
                        let mut client = served.connect(&format!("HELLO {{\"v\":2,\"wid\":\"{wid}\"}}"));
                        let mut done = 0;
                        while done < JOBS / 2 / CONNECTIONS {
                            let job = client.json("FETCH default");
                            assert_eq!(client.says(&format!("ACK {}", json!({ "jid": job["jid"] }))), "+OK");
                            done += 1;
                        }
                        done
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        println!(
            "Faktory FETCH and ACK, {CONNECTIONS} connections of {workers} workers: {:.0} jobs/s",
            done as f64 / began.elapsed().as_secs_f64()
        );
    }
    served.server.stop();
}
