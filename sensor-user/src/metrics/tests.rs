use super::*;
use crate::sensor::health::probe;

#[tokio::test]
async fn the_page_is_made_of_what_the_event_loop_says_and_there_is_none_without_it() {
    let (probe, mut questions) = probe();
    let running = Running { sources: Sources::default(), probe };
    let sensor = std::thread::spawn(move || {
        let question = questions.blocking_next().unwrap();
        question.send(Health::default()).unwrap();
    });
    let page = running.page().await.unwrap().text().unwrap();
    assert!(page.contains("keywitness_events_lost_total{kind=\"exec\",cause=\"ring_full\"} 0.0\n"), "{page}");
    sensor.join().unwrap();
    assert!(!running.answers().await, "the event loop is gone");
}
